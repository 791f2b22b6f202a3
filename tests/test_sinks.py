"""TensorBoard and wandb get scalars and histograms; JSON lines are written beside them."""

from pathlib import Path

import pytest
from conftest import config_of, train

from trainability import extras


def test_tensorboard_gets_scalars_and_histograms(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trained = train(tmp_path / "run", config_of(optim__epochs=1, run__sinks=("tensorboard",), run__monitor_every_steps=6))
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"), size_guidance={"histograms": 0, "scalars": 0})
    events.Reload()
    losses = events.Scalars("train/loss")
    assert [event.step for event in losses] == list(range(1, 13))
    assert [event.value for event in losses] == pytest.approx(trained.losses, rel=1e-5)
    assert events.Scalars("epoch/val_top1_error")[0].value == pytest.approx(trained.outcome.evaluation["val_top1_error"])
    histograms = events.Histograms("gradient/features.0")
    assert [event.step for event in histograms] == sorted({row["step"] for row in trained.run.layers})
    assert len(histograms) >= 2
    assert histograms[0].histogram_value.num == pytest.approx(1, abs=1e-3)  # shares of all elements


def test_wandb_works_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    train(tmp_path / "run", config_of(optim__epochs=1, run__sinks=("wandb",), run__monitor_every_steps=6))
    written = list((tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(written) == 1
    assert written[0].stat().st_size > 1000
    assert (tmp_path / "run" / "wandb-id.txt").read_text().strip() in written[0].name


def test_a_sink_that_is_not_installed_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(extras.MissingExtra, match=r"pip install 'trainability\[wandb\]'"):
        train(tmp_path / "run", config_of(run__sinks=("wandb",)))
    assert not (tmp_path / "run").exists()
