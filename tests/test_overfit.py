"""The overfit test: the first batches alone, for training and for validation."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import config_of, flags_of, train

from trainability.checking.run import check_config
from trainability.cli import program as cli
from trainability.config import RunSettings
from trainability.data import dataset
from trainability.data.loader import epoch_order
from trainability.data.overfitting import first_batches
from trainability.data.packed import PackedImages
from trainability.evaluation import predictions
from trainability.training.record import read_run


def test_the_images_are_those_of_the_first_steps_also_from_a_pack() -> None:
    config = config_of()
    whole = dataset.load(config.data, seed=3)
    part = first_batches(whole, 2 * 50, seed=3)
    first = epoch_order(3, 0, len(whole.train))[:100].sort().values
    assert torch.equal(part.train.images, whole.train.images[first])  # type: ignore[arg-type, index]
    assert torch.equal(part.train.labels, whole.train.labels[first])
    assert part.val is part.train
    assert torch.equal(part.mean, whole.mean)
    pack = PackedImages(None, np.arange(1000, 1000 + len(whole.train)))  # type: ignore[arg-type]
    packed = dataclasses.replace(whole, train=dataclasses.replace(whole.train, images=pack))
    chosen = first_batches(packed, 100, seed=3).train.images
    assert isinstance(chosen, PackedImages)
    assert chosen.positions.tolist() == (1000 + first).tolist()
    assert len(first_batches(whole, 10**6, seed=3).train) == len(whole.train)


def test_a_batch_is_memorised_and_everything_looks_at_that_batch(tmp_path: Path) -> None:
    small = {
        "optim__batch_size": 16,
        "data__input": "standard",
        "data__size": 32,  # no random crops
        "optim__schedule": "constant",
        "optim__lr": 0.02,
        "model__dropout": 0.0,
        "init__plan": "he",
    }
    config = config_of(run__overfit_batches=1, optim__epochs=60, **small)
    run = train(tmp_path / "run", config).run
    assert (run.data["num_train"], run.data["num_val"]) == (16, 16)
    assert len(run.steps) == len(run.evaluations) == 60  # an epoch is a step
    assert run.evaluations[-1]["val_num_examples"] == 16
    assert run.evaluations[0]["val_top1_error"] > 0.5
    assert run.evaluations[-1]["val_top1_error"] == 0
    with pytest.raises(SystemExit) as end:
        cli.main(["evaluate", str(run.folder)])
    assert end.value.code == 0
    assert len(predictions.load(run.folder / predictions.FILE)) == 16
    cli_run = read_run(run.folder)
    assert cli_run.train_config.run.overfit_batches == 1
    # Another number of batches is another run.
    with pytest.raises(SystemExit) as end:
        cli.main(["train", "--resume", str(run.folder), "--run.overfit-batches", "2"])
    assert end.value.code == 2


def test_the_check_looks_at_the_same_batch_and_sees_no_overlap() -> None:
    config = config_of(run__overfit_batches=2, optim__epochs=10, optim__batch_size=32, run__rehearse_seconds=None)
    evidence = check_config(config).evidence
    assert evidence.data is not None
    assert evidence.data.train is not None
    assert evidence.data.train.num_images == 64
    assert evidence.data.validation is None
    assert evidence.probe is not None
    assert evidence.probe.optimizer is not None
    assert evidence.probe.optimizer.planned_steps == 20


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "all"])
def test_other_values_are_refused(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["train", *flags_of(config_of()), "--run.overfit-batches", value])
    assert end.value.code == 2
    assert "overfit-batches" in capsys.readouterr().err


def test_off_is_none() -> None:
    assert RunSettings().overfit_batches is None
    assert config_of().overfit_images is None
