"""The doctor in our own runs: it changes no bit, tells what it finds, and ends what is doomed."""

import json
import re
from pathlib import Path

import pytest
import torch
from conftest import QuietDisplay, config_of, flags_of, train

from trainability.doctor import Diagnosis
from trainability.doctor.finding import Finding
from trainability.training import precheck as checkup
from trainability.training.record import read_run
from trainability.training.run_monitor import diagnose_run

DEAD = {"init__plan": "normal=0.001"}


def test_a_checked_and_monitored_run_is_bitwise_the_other(tmp_path: Path) -> None:
    accumulated = {"optim__micro_batch_size": 50, "optim__clip": 1.0}
    plain = train(tmp_path / "plain", config_of(run__check="off", run__monitor_every_steps=None, **accumulated))
    watched = train(tmp_path / "watched", config_of(run__check="on", run__monitor_every_steps=2, **accumulated))
    assert watched.losses == plain.losses
    for name, value in plain.parts.model.state_dict().items():
        assert torch.equal(value, watched.parts.model.state_dict()[name]), name
    assert not (tmp_path / "plain" / "findings.json").exists()
    rows = watched.run.layers
    assert {row["step"] for row in rows} == set(range(1, 25, 2))
    assert {"name", "activation_rms", "gradient_rms", "update_ratio", "weight_histogram"} <= set(rows[0])
    assert not diagnose_run(tmp_path / "watched").evidence.problems


@pytest.mark.slow
def test_the_default_run_has_nothing_above_a_hint(command, tmp_path: Path) -> None:
    answer = command("train", "--run.dir", "r", "--run.device", "cpu", OMP_NUM_THREADS="1")
    assert answer.returncode == 0, answer.stderr
    assert "check: will train" in answer.stdout
    run = read_run(tmp_path / "r")
    assert run.findings is not None
    assert run.findings["verdict"] == "has learned"
    assert [finding for finding in run.findings["findings"] if finding["severity"] != "hint"] == []


class Listener(QuietDisplay):
    """Keeps the findings that a run tells."""

    def __init__(self) -> None:
        self.told: list[Finding] = []

    def diagnosed(self, diagnosis: Diagnosis, new: list[Finding]) -> None:
        self.told += new


def test_a_dead_plan_is_told_once_with_a_plan_that_would_work(tmp_path: Path) -> None:
    listener = Listener()
    dead = train(tmp_path / "r", config_of(run__check="on", run__monitor_every_steps=3, **DEAD), display=listener)
    assert dead.outcome.status == "finished"
    worse = [finding for finding in listener.told if finding.severity != "hint"]
    assert [finding.rule for finding in worse] == ["gain_budget_low"]
    assert '--init.plan "' in worse[0].remedy
    assert dead.run.findings is not None  # the last diagnosis prescribes what the check did
    assert {row["remedy"] for row in dead.run.findings["findings"] if row["rule"] == "gain_budget_low"} == {worse[0].remedy}
    rows = dead.run.finding_events
    assert {row["rule"] for row in rows} == {finding.rule for finding in listener.told}
    assert next(row for row in rows if row["rule"] == "gain_budget_low")["step"] == 0
    assert all(row["seen"] and row["remedy"] and row["measurements"] for row in rows)
    plan = worse[0].remedy.split('"')[1]
    more = {"optim__epochs": 6, "optim__batch_size": 64, "model__dropout": 0.0, "optim__clip": 1.0}
    better = train(tmp_path / "s", config_of(init__plan=plan, **more))
    assert better.run.evaluations[-1]["val_loss"] < 0.7 * 2.303


def test_a_doomed_run_is_not_begun(tmp_path: Path) -> None:
    stopped = train(tmp_path / "r", config_of(run__check="on", run__stop_on="doomed", **DEAD))
    assert (stopped.outcome.status, stopped.outcome.position.step) == ("stopped", 0)
    assert "dead: " in stopped.outcome.message
    assert not list((tmp_path / "r" / "checkpoints").iterdir())
    assert stopped.run.result["status"] == "stopped"


def test_a_run_that_becomes_unstable_is_ended_and_saved(command, tmp_path: Path) -> None:
    flags = flags_of(config_of(optim__lr=0.3, run__check="off", run__monitor_every_steps=1, run__stop_on="doomed"))
    answer = command("train", *flags, "--run.dir", "r")
    assert answer.returncode == 1, answer.stdout
    assert "stopped: unstable: " in answer.stderr
    run = read_run(tmp_path / "r")
    assert run.result is not None
    assert run.result["status"] == "stopped"
    assert list((tmp_path / "r" / "checkpoints").glob(f"step-{run.result['step']:09d}*"))
    assert "Diagnosis: unstable" in (tmp_path / "r" / "report.html").read_text()
    again = command("diagnose", "r")
    assert again.returncode == 1
    assert again.stdout.lstrip().startswith("╭")
    assert "UNSTABLE" in again.stdout
    said = json.loads(command("diagnose", "r", "--json").stdout)
    assert said["verdict"] == "unstable"


def test_an_unwatched_run_can_still_be_diagnosed(tmp_path: Path) -> None:
    train(tmp_path / "r", config_of(run__check="off", run__monitor_every_steps=None))
    diagnosis = diagnose_run(tmp_path / "r")
    assert diagnosis.verdict != "dead"
    assert len(diagnosis.evidence.steps) == 24


def test_what_an_interrupted_run_had_seen_is_taken_up(tmp_path: Path) -> None:
    watched = {"run__check": "on", "run__monitor_every_steps": 4, "run__faults": ("metric-of-last-batch",)}
    train(tmp_path / "r", config_of(**watched, optim__epochs=1))
    resumed = train(tmp_path / "r", config_of(**watched, optim__epochs=2))
    evidence = diagnose_run(tmp_path / "r").evidence
    assert evidence.probe is not None
    assert [record.step for record in evidence.steps] == list(range(1, 25))
    assert len(resumed.run.evaluations) == 2
    told = [(row["rule"], row["severity"]) for row in resumed.run.finding_events]
    assert told
    assert len(set(told)) == len(told)  # a resume tells again what is still there, and writes it down once


def test_a_killed_run_is_diagnosed_to_its_last_recorded_step(tmp_path: Path) -> None:
    train(tmp_path / "r", config_of(run__check="on", run__monitor_every_steps=4, optim__epochs=1))
    early = (tmp_path / "r" / "evidence.json").read_text()
    train(tmp_path / "r", config_of(run__check="on", run__monitor_every_steps=4, optim__epochs=2))
    (tmp_path / "r" / "evidence.json").write_text(early)  # as after a kill in the second epoch
    evidence = diagnose_run(tmp_path / "r").evidence
    assert evidence.probe is not None
    assert [record.step for record in evidence.steps] == list(range(1, 25))


def test_a_run_of_an_older_version_is_continued_and_diagnosed(tmp_path: Path) -> None:
    train(tmp_path / "r", config_of(run__check="on", run__monitor_every_steps=4, optim__epochs=1))
    path, rows = tmp_path / "r" / "evidence.json", tmp_path / "r" / "steps.jsonl"
    plain = json.loads(path.read_text())
    assert plain.pop("version") == 2
    for record in (*plain["steps"], *plain["samples"]):
        record["step"] -= 1
    path.write_text(json.dumps(plain))
    rows.write_text(rows.read_text().replace("gradient_norm", "grad_norm"))
    older = diagnose_run(tmp_path / "r").evidence
    assert [record.step for record in older.steps] == list(range(1, 13))
    assert [sample.step for sample in older.samples] == [1, 5, 9]
    train(tmp_path / "r", config_of(run__check="on", run__monitor_every_steps=4, optim__epochs=2))
    evidence = diagnose_run(tmp_path / "r").evidence
    assert [record.step for record in evidence.steps] == list(range(1, 25))
    assert not evidence.problems
    assert all(row["gradient_norm"] > 0 for row in read_run(tmp_path / "r").steps)


def test_damaged_evidence_does_not_stop_a_resume(tmp_path: Path) -> None:
    train(tmp_path / "r", config_of(optim__epochs=1))
    (tmp_path / "r" / "evidence.json").write_text('{"steps": 3}')
    with pytest.warns(RuntimeWarning, match="doctor.*Error"):
        resumed = train(tmp_path / "r", config_of(optim__epochs=2))
    assert resumed.outcome.status == "finished"
    assert len(diagnose_run(tmp_path / "r").evidence.problems) == 1


def test_an_error_in_the_check_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **named: object) -> None:
        raise RuntimeError("oops")

    monkeypatch.setattr(checkup, "audit_data", broken)
    run = train(tmp_path / "r", config_of(run__check="on", optim__epochs=1))
    assert run.outcome.status == "finished"
    (problem,) = diagnose_run(tmp_path / "r").evidence.problems
    assert re.match("data: .*RuntimeError: oops", problem)
