"""Runs of the book: made once, resumed, refused where they are others, the same however many are made at once."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import config_of
from sources_on_disk import mnist_idx

from trainability.config import RunConfig
from trainability.executors import executor_of
from trainability.training.record import read_run
from trainability.trials import run as trial_runs
from trainability.trials.book import TRIALS
from trainability.trials.report.markdown import markdown
from trainability.trials.report.table import expectation_text, row_of
from trainability.trials.run import FinishedJob, Job, jobs_of, make, probe_numbers, result_of

JOB = Job(trial="cifar100-1", scale="pocket", variant="repaired")
TWO_SESSIONS = Job(trial="imagenet-A", scale="pocket", variant="repaired")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every run of the book a second long."""
    monkeypatch.setattr(trial_runs, "configure", small_config)


def small_config(trial: Any, scale: str, variant: str, seed: int, **more: Any) -> RunConfig:
    faults = tuple(name for name in trial.faults if variant == "as-run" and name in ("metric-of-last-batch", "halved-loss"))
    return config_of(run__seed=seed, run__faults=faults, optim__micro_batch_size=64, run__check="on")


@pytest.mark.usefixtures("small")
def test_a_run_is_made_once_and_judged(tmp_path: Path) -> None:
    assert make(JOB, tmp_path) is False
    place = JOB.place(tmp_path)
    assert (place / "report.html").is_file()
    assert (place / "predictions.npz").is_file()
    assert not (place / "checkpoints").exists()
    written = (place / "steps.jsonl").read_bytes()
    assert make(JOB, tmp_path) is True
    assert (place / "steps.jsonl").read_bytes() == written
    result = result_of(TRIALS["cifar100-1"], "pocket", tmp_path)
    assert list(result.runs) == [("repaired", 0)]
    row = row_of(result)
    assert row.measured[0].startswith("repaired: budget ")
    assert row.seen == "open"
    assert row_of(result_of(TRIALS["caltech-1"], "pocket", tmp_path)).seen == "none"
    page = markdown([result], [], [], command="trainability trials run all", machine="a machine")
    assert "| cifar100-1 | " in page
    assert "scale **pocket**" in page
    for judged in result.verdict.judged:
        assert expectation_text(judged) in page


@pytest.mark.usefixtures("small")
def test_weights_are_kept_on_request(tmp_path: Path) -> None:
    make(JOB, tmp_path, keep_weights=True)
    assert list((JOB.place(tmp_path) / "checkpoints").iterdir())
    assert make(JOB, tmp_path) is True


@pytest.mark.usefixtures("small")
def test_a_run_of_another_configuration_is_left_alone_and_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(JOB, tmp_path)
    other = dataclasses.replace(small_config(TRIALS[JOB.trial], "pocket", "repaired", 0))
    other = dataclasses.replace(other, optim=dataclasses.replace(other.optim, lr=0.5))
    monkeypatch.setattr(trial_runs, "configure", lambda *_, **__: other)
    with pytest.raises(ValueError, match=r"optim\.lr .*0\.5,.* 0\.01"):
        make(JOB, tmp_path)


@pytest.mark.usefixtures("small")
def test_sessions_resume_and_a_broken_off_one_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(TWO_SESSIONS, tmp_path / "whole")
    losses = [row["loss"] for row in read_run(TWO_SESSIONS.place(tmp_path / "whole")).steps]
    assert len(losses) == 24

    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(trial_runs, "evaluate_runs", interrupted)  # after the first session
        with pytest.raises(KeyboardInterrupt):
            make(TWO_SESSIONS, tmp_path / "broken")
    assert not result_of(TRIALS["imagenet-A"], "pocket", tmp_path / "broken").runs
    make(TWO_SESSIONS, tmp_path / "broken")
    assert [row["loss"] for row in read_run(TWO_SESSIONS.place(tmp_path / "broken")).steps] == losses


def test_runs_side_by_side_are_those_made_alone(tmp_path: Path) -> None:
    # The real configuration, cut short: other processes do not see what a test exchanges.
    plan = next(plan for plan in TRIALS["imagenet-D-vanishing"].plans)
    assert (
        Job(trial="imagenet-D-vanishing", scale="pocket", plan=plan.label).name == f"imagenet-D-vanishing, probe {plan.label}"
    )
    missing = [Job(trial="caltech-1", scale="full", variant="repaired", seed=seed, places={}) for seed in (0, 1)]
    told: list[FinishedJob] = []
    done = trial_runs.replay(missing, tmp_path, executor=lambda: executor_of(2), keep_weights=False, on_finished=told.append)
    assert {row.job.seed for row in done} == {0, 1}
    assert done == told
    assert all(row.problem and "caltech256" in row.problem for row in done)


def test_a_trial_that_is_compared_brings_the_other_along() -> None:
    jobs = jobs_of([TRIALS["caltech-linear"]], "pocket", ["repaired"])
    assert [job.name for job in jobs] == ["caltech-linear repaired, seed 0", "caltech-1 repaired, seed 0"]
    assert len(jobs_of([TRIALS["caltech-1"]], "pocket", ["repaired", "as-run"])) == 2
    assert [job.plan for job in jobs_of([TRIALS["conclusion-2"]], "pocket", ["repaired"])] == ["deep-xavier", "deep-0.01"]


def test_two_plans_are_compared_by_their_ratio() -> None:
    def diagnosis(size: float) -> dict[str, Any]:
        layer = {"gradient_min": -size, "gradient_max": size / 2}
        return {"evidence": {"probe": {"layers": [layer, layer], "loss": 6.9, "log10_gain": -3.0, "input_mean_square": 100.0}}}

    found = probe_numbers({"a": diagnosis(4.0), "b": diagnosis(2.0)})
    assert found["first_gradient:a"] == 4
    assert found["first_gradient:a/b"] == 2
    assert found["budget:b"] == -1
    assert json.dumps(found)


@pytest.mark.usefixtures("small")
def test_a_run_of_another_configuration_is_named_and_not_judged(tmp_path: Path) -> None:
    make(JOB, tmp_path)
    config = JOB.place(tmp_path) / "config.toml"
    config.write_text(config.read_text().replace("lr = 0.01", "lr = 0.5"))
    problems: list[str] = []
    assert result_of(TRIALS[JOB.trial], "pocket", tmp_path, problems).runs == {}
    assert len(problems) == 1
    assert re.search(r"optim\.lr .*0\.01,.* 0\.5", problems[0])


def test_the_probe_of_another_plan_is_named_and_not_judged(tmp_path: Path) -> None:
    job = Job(trial="conclusion-2", scale="pocket", plan="deep-xavier")
    job.place(tmp_path).parent.mkdir(parents=True)
    job.place(tmp_path).write_text('{"plan": {"label": "deep-xavier", "plan": "he", "input": "standard"}}')
    with pytest.raises(ValueError, match="deep-xavier"):
        make(job, tmp_path)
    problems: list[str] = []
    assert result_of(TRIALS["conclusion-2"], "pocket", tmp_path, problems).probes == {}
    assert str(job.place(tmp_path)) in problems[0]


def test_real_sets_are_packed_before_the_runs_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINABILITY_CACHE", str(tmp_path / "cache"))
    places = {"mnist": mnist_idx(tmp_path / "mnist", zipped=True)}
    jobs = jobs_of([TRIALS["mnist-fail"]], "desk", ["as-run", "repaired"], places=places)
    done = trial_runs.replay(jobs, tmp_path, executor=lambda: executor_of(2), keep_weights=False, on_finished=lambda job: None)
    # The set was read, by processes that can start none to pack it: so small a one has no batch of 64.
    assert len(done) == 2
    for row in done:
        assert re.findall(r"optim.batch-size|mnist|\d+", str(row.problem)) == ["optim.batch-size", "64", "mnist", "40"]
