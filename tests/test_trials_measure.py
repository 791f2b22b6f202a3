"""The book's numbers of a run."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from conftest import Trained, config_of, train

from trainability.evaluation import predictions
from trainability.training import engine as engines
from trainability.training.evaluate import EvaluationOptions, evaluate_runs
from trainability.trials.measure import METRICS, Measured, measure, measure_probe

RUN: dict[str, Any] = {
    "model__width": 0.125,
    "model__hidden": 128,
    "model__dropout": 0.0,
    "init__plan": "he",
    "data__input": "standard",
    "optim__lr": 0.02,
    "optim__batch_size": 32,
    "run__check": "on",
}
"""Leaves chance within a few epochs of 45 steps."""


def made(folder: Path, **fields: Any) -> Trained:
    trained = train(folder, config_of(**{**RUN, **fields}))
    with engines.start(trained.run.config.run) as engine:
        evaluate_runs([folder], EvaluationOptions(protocol="centre"), engine=engine)
    return trained


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measured") / "run"
    made(folder, optim__epochs=6)
    return folder


def test_a_run_that_learns(learned: Path) -> None:
    found = measure(learned)
    assert set(found) == set(METRICS)
    seen = Measured(learned)
    step = found["left_chance_step"]
    assert step is not None
    window = seen.losses[int(step) - 20 : int(step)]
    assert sum(window) / 20 < 0.9 * math.log(10)
    before = seen.losses[int(step) - 21 : int(step) - 1]
    assert step == 20 or sum(before) / 20 >= 0.9 * math.log(10)
    answers = predictions.load(learned / predictions.FILE)
    assert found["top1_error"] == answers.errors.top1_error
    counts = [int((answers.labels == label).sum()) for label in range(10)]
    assert found["times_constant"] == pytest.approx((1 - answers.errors.top1_error) * len(answers) / max(counts))
    assert found["nan_step"] is None
    assert found["budget"] == pytest.approx(0, abs=0.5)
    assert found["first_fall"] == pytest.approx(0.02 * seen.run.steps[0]["gradient_norm"] ** 2)  # not clipped
    assert found["num_steps"] == len(seen.run.steps)
    assert found["late_gradient"] is None  # of another size than the log's
    assert found["loss_gap"] is None
    assert measure(learned, learned)["loss_gap"] == 0
    assert found["shown_top1_error"] == min(row["val_top1_error"] for row in seen.run.evaluations)


def test_a_loss_that_was_shown_halved_is_measured_whole(tmp_path: Path) -> None:
    halved = made(tmp_path / "halved", optim__micro_batch_size=16, run__faults=("halved-loss",), optim__epochs=1)
    whole = made(tmp_path / "whole", optim__micro_batch_size=16, optim__epochs=1)
    assert halved.losses[0] == pytest.approx(whole.losses[0] / 2)
    assert Measured(tmp_path / "halved").losses == pytest.approx(whole.losses)


def test_a_metric_of_the_last_batch_shows_a_failure_that_is_none(tmp_path: Path) -> None:
    made(tmp_path / "run", optim__epochs=6, run__faults=("metric-of-last-batch",))
    found = measure(tmp_path / "run")
    assert found["shown_top1_error"] is not None
    assert found["top1_error"] is not None
    # 359 images in batches of 32: the last has 7 and counts as if it were all.
    assert found["shown_top1_error"] >= 1 - 7 / 359
    assert found["top1_error"] < 0.6


def test_a_run_that_ended_at_a_nan(tmp_path: Path) -> None:
    trained = train(tmp_path / "run", config_of(init__plan="normal=1"))
    assert trained.outcome.status == "non-finite"
    found = measure(tmp_path / "run")
    assert found["nan_step"] == trained.outcome.position.step + 1
    assert found["top1_error"] is None
    assert found["left_chance_step"] is None


def test_steps_that_were_not_clipped_are_counted(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"optim__clip": 0.05, "optim__epochs": 2, "run__monitor_every_steps": 4}
    made(tmp_path / "kept", **fields)
    made(tmp_path / "dropped", **fields, run__faults=("clip-dropped",))
    kept, dropped = measure(tmp_path / "kept")["unclipped_steps"], measure(tmp_path / "dropped")["unclipped_steps"]
    assert kept == 0
    assert dropped is not None
    assert dropped > 5


def test_a_probe_is_measured_by_its_largest_elements(learned: Path) -> None:
    evidence = json.loads((learned / "evidence.json").read_text())
    found = measure_probe({"evidence": evidence})
    layers = evidence["probe"]["layers"]
    assert found["first_gradient"] == max(abs(layers[0]["gradient_min"]), abs(layers[0]["gradient_max"]))
    assert found["weakest_gradient"] == min(max(abs(row["gradient_min"]), abs(row["gradient_max"])) for row in layers)
    assert found["first_loss"] == evidence["probe"]["loss"]


def test_every_metric_says_what_it_is() -> None:
    for metric in METRICS.values():
        assert metric.title
        assert metric.unit in ("", "%", "steps", "step", "nats")
