"""A check of a packed set reads the images that it looks at, once each, and gives the same batches as the whole set."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from trainability.checking.run import check_config
from trainability.config import DataConfig, ModelConfig, OptimConfig, RunConfig, RunSettings
from trainability.data import dataset
from trainability.data.catalog import TRAIN, VAL, ArrayImages, joined
from trainability.data.loader import ResidentLoader
from trainability.data.on_demand import OnDemandLoader
from trainability.data.packed import Pack
from trainability.data.packing import pack_catalog
from trainability.data.streaming import make_loader
from trainability.doctor.measure.sizes import audit_size

NUM_TRAIN, NUM_VAL, BATCH = 1000, 60, 32


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """A run on a pack of noise, 40 pixels, crops of 32 with flips."""
    pixels = np.random.default_rng(0).integers(0, 256, (NUM_TRAIN + NUM_VAL, 40, 40, 3), dtype=np.uint8)
    labels = np.arange(len(pixels)) % 4
    parts = [
        (split, ArrayImages(pixels[where], "noise"), labels[where])
        for split, where in ((TRAIN, slice(NUM_TRAIN)), (VAL, slice(NUM_TRAIN, None)))
    ]
    catalog = joined(list("abcd"), parts, [])
    folder = tmp_path_factory.mktemp("packed") / "pack"
    pack_catalog(catalog, folder, source="folder", size=40, encoding="raw")
    return RunConfig(
        model=ModelConfig(config="A", width=1 / 16),
        data=DataConfig(name="folder", path=folder, size=40, crop=32, flip=True),
        optim=OptimConfig(batch_size=BATCH, epochs=2),
        run=RunSettings(rehearse_seconds=None, device="cpu"),
    ).completed()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The positions of the images that are read from packs."""
    seen: list[int] = []
    read = Pack.read

    def counted(self: Pack, position: int) -> np.ndarray:
        seen.append(position)
        return read(self, position)

    monkeypatch.setattr(Pack, "read", counted)
    return seen


def test_a_check_reads_what_it_audits_once(config: RunConfig, reads: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainability.doctor.measure.sizes.AUDIT_VALUES", 1e6)
    monkeypatch.setattr("trainability.doctor.measure.sizes.MAX_PROBE_IMAGES", 64)
    audited = audit_size((3, 32, 32))
    assert audited + BATCH < NUM_TRAIN / 2
    check_config(config)
    assert len(reads) == len(set(reads))
    assert audited <= sum(position < NUM_TRAIN for position in reads) < audited + BATCH
    assert sum(position >= NUM_TRAIN for position in reads) == NUM_VAL


def test_a_rehearsal_reads_its_steps(config: RunConfig, reads: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainability.doctor.measure.sizes.ENOUGH_IMAGES", 32)
    monkeypatch.setattr("trainability.doctor.measure.sizes.AUDIT_VALUES", 1e5)
    monkeypatch.setattr("trainability.doctor.measure.sizes.MAX_PROBE_IMAGES", 32)
    settings = dataclasses.replace(config.run, rehearse_seconds=60.0)
    diagnosis = check_config(dataclasses.replace(config, run=settings))
    assert diagnosis.evidence.rehearsal is not None
    assert len(reads) == len(set(reads))
    num_looked = max(128, BATCH * (len(diagnosis.evidence.rehearsal.steps) + 1))  # and the images of its reference loss
    assert BATCH * 10 <= sum(position < NUM_TRAIN for position in reads) <= num_looked < NUM_TRAIN


def batches_of(loader: Any) -> list[Tensor]:
    found: list[Tensor] = []
    for epoch in (1, 0):
        for step in loader.steps(epoch, 2, draws_of=epoch + 1):
            for micro in step:
                found += [micro.images, micro.labels, micro.weights, micro.keys]
    for batch in loader.validation(16):
        found += batch
    return found


def test_batches_are_those_of_the_resident_loader(config: RunConfig) -> None:
    loaders = []
    for reads_all in (True, False):
        data, num_train = dataset.sample(config.data, seed=0, num_train=1, num_val=1, reads_all=reads_all)
        assert num_train == len(data.train) == NUM_TRAIN
        loaders.append(make_loader(data, config.data, config.optim, seed=5, device=torch.device("cpu")))
    assert type(loaders[0]) is ResidentLoader
    assert type(loaders[1]) is OnDemandLoader
    one, other = map(batches_of, loaders)
    assert len(one) == len(other)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_faults_that_change_images_in_memory_find_them_all(config: RunConfig, reads: list[int]) -> None:
    planted = dataclasses.replace(config, run=dataclasses.replace(config.run, faults=("shared-data-set",)))
    assert "augmentation_missing" in {finding.rule for finding in check_config(planted).findings}
    assert sorted(reads) == list(range(NUM_TRAIN + NUM_VAL))
    assert "augmentation_missing" not in {finding.rule for finding in check_config(config).findings}
