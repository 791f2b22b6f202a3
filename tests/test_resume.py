"""Kill -9 at random moments: what comes out is bit for bit the uninterrupted run."""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from conftest import QuietDisplay, config_of, flags_of, train
from launcher import launcher

from trainability.cli import program as cli
from trainability.training import checkpoint
from trainability.training.record import read_rows, read_run
from trainability.training.same_run import identity

TIMING = ("images_per_second", "train_seconds")


def rows(folder: Path, name: str) -> list[dict]:
    return [{key: value for key, value in row.items() if key not in TIMING} for row in read_rows(folder / name)]


def assert_equal_runs(one: Path, other: Path) -> None:
    """Weights, momentum, schedule, and every recorded number but the clock."""
    (step, path), (other_step, other_path) = (
        checkpoint.checkpoints(one / "checkpoints")[0],
        checkpoint.checkpoints(other / "checkpoints")[0],
    )
    assert step == other_step
    first, second = (torch.load(p, weights_only=True) for p in (path, other_path))
    assert first["position"] == second["position"]
    for name, value in first["model"].items():
        assert torch.equal(value, second["model"][name]), name
    for key, state in first["optimizer"]["state"].items():
        assert torch.equal(state["momentum_buffer"], second["optimizer"]["state"][key]["momentum_buffer"])
    for name in ("steps.jsonl", "evaluations.jsonl"):
        assert rows(one, name) == rows(other, name)


@pytest.mark.slow
def test_twenty_kills(tmp_path: Path) -> None:
    config = config_of(
        optim__epochs=14,
        optim__micro_batch_size=50,
        optim__clip=1.0,
        optim__patience_epochs=1,
        run__log_every_steps=2,
        run__checkpoint_every_steps=3,
    )
    draw = random.Random(0)
    flags = ["train", *flags_of(config), "--run.dir", "killed"]
    steps = tmp_path / "killed" / "steps.jsonl"
    kills, seen = 0, set()
    with launcher(tmp_path) as commands:
        while kills < 20:
            pid = commands.start(flags)
            # Wait for some progress, so that twenty kills do not take for ever, and then for a random moment of a step, a
            # read, a checkpoint or an evaluation.
            before = steps.stat().st_size if steps.exists() else 0
            while commands.is_running() and (not steps.exists() or steps.stat().st_size <= before + 400):
                time.sleep(0.002)
            time.sleep(draw.random() * 0.15)
            if not commands.is_running():
                break
            os.killpg(pid, signal.SIGKILL)
            assert commands.exit_code() == -signal.SIGKILL
            kills += 1
            seen.add(len(read_rows(steps)))
            read_run(tmp_path / "killed")  # can be read at any time
            if (tmp_path / "killed" / "config.toml").exists():
                flags = ["train", "--resume", "killed"]
        assert kills == 20
        assert len(seen) > 5
        for arguments in (flags, ["train", *flags_of(config), "--run.dir", "whole"]):
            commands.start(arguments)
            assert commands.exit_code() == 0
    assert_equal_runs(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.parametrize("stop_after", [1, 5, 12, 13])
def test_a_stop_in_any_place_of_an_epoch(tmp_path: Path, stop_after: int) -> None:
    config = config_of(optim__micro_batch_size=50)
    stopped = train(tmp_path / "stopped", config, display=Stopper(stop_after))
    assert stopped.outcome.status == "interrupted"
    assert stopped.outcome.position.step == stop_after
    train(tmp_path / "stopped", config)
    train(tmp_path / "whole", config)
    assert_equal_runs(tmp_path / "whole", tmp_path / "stopped")


def test_a_torn_newest_checkpoint_costs_steps_but_not_the_result(tmp_path: Path) -> None:
    config = config_of(run__checkpoint_every_steps=5)
    train(tmp_path / "whole", config)
    train(tmp_path / "torn", config_of(run__checkpoint_every_steps=5, optim__epochs=1))
    newest = checkpoint.checkpoints(tmp_path / "torn" / "checkpoints")[0][1]
    newest.write_bytes(newest.read_bytes()[:-100])

    class Listener(QuietDisplay):
        def __init__(self) -> None:
            self.notes: list[str] = []

        def start(self, start) -> None:
            self.notes += start.notes

    listener = Listener()
    train(tmp_path / "torn", config, display=listener)
    assert len(listener.notes) == 1
    assert newest.name in listener.notes[0]
    assert "step-000000010.pt" in listener.notes[0]
    assert_equal_runs(tmp_path / "whole", tmp_path / "torn")


class Stopper(QuietDisplay):
    """Stops a run after a step, as Ctrl-C does."""

    def __init__(self, step: int) -> None:
        self.stop_after = step

    def step(self, position) -> None:
        if position.step == self.stop_after:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("stop_after", [5, 17])
def test_a_kill_between_two_writings_of_the_evidence_makes_no_finding(tmp_path: Path, stop_after: int) -> None:
    # Three micro-batches a step, one at the end of an epoch: 128 and 30 images by 50.
    config = config_of(optim__micro_batch_size=50, run__monitor_every_steps=5, run__checkpoint_every_steps=5)
    train(tmp_path / "whole", config)
    if stop_after > 12:
        train(tmp_path / "killed", config_of(**FIRST_EPOCH))
    evidence = tmp_path / "killed" / "evidence.json"
    before = evidence.read_bytes() if evidence.exists() else None
    train(tmp_path / "killed", config, display=Stopper(stop_after))
    evidence.unlink() if before is None else evidence.write_bytes(before)  # a kill lets nobody write it
    resumed = train(tmp_path / "killed", config)
    rules = {finding["rule"] for finding in (resumed.run.findings or {})["findings"]}
    assert "accumulation" not in rules
    assert {row["micro_batches"] for row in resumed.run.steps} == {1, 3}
    assert_equal_runs(tmp_path / "whole", tmp_path / "killed")


FIRST_EPOCH = {
    "optim__micro_batch_size": 50,
    "run__monitor_every_steps": 5,
    "run__checkpoint_every_steps": 5,
    "optim__epochs": 1,
}


@pytest.mark.parametrize(
    "missing", [("result.json",), ("result.json", "predictions.npz"), ("predictions.npz",), ("report.html",)]
)
def test_a_run_that_was_killed_after_its_last_checkpoint_is_completed(
    tmp_path: Path, missing: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = flags_of(config_of(optim__epochs=1))
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", *flags, "--run.dir", "r"])
    assert stop.value.code == 0
    before = read_run("r")
    for name in missing:
        (tmp_path / "r" / name).unlink()
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", "--resume", "r"])
    assert stop.value.code == 0
    after = read_run("r")
    assert (after.steps, after.evaluations) == (before.steps, before.evaluations)
    assert {key: value for key, value in (after.result or {}).items() if key not in TIMING} == {
        key: value for key, value in (before.result or {}).items() if key not in TIMING
    }
    assert all((tmp_path / "r" / name).is_file() for name in ("result.json", "predictions.npz", "report.html"))
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", "--resume", "r"])
    assert stop.value.code == 2
    assert "1 of 1 epochs" in capsys.readouterr().err


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_whose_checkpoints_are_gone_is_left_as_it_is(tmp_path: Path) -> None:
    train(tmp_path / "r", config_of())
    shutil.rmtree(tmp_path / "r" / "checkpoints")
    before = files(tmp_path / "r")
    with pytest.raises(ValueError, match="no checkpoint"):
        train(tmp_path / "r", config_of(optim__epochs=3))
    assert files(tmp_path / "r") == before


@pytest.mark.parametrize("name", ["layers.jsonl", "evaluations.jsonl", "findings.jsonl", "evidence.json"])
def test_a_refused_resume_has_written_nothing(tmp_path: Path, name: str) -> None:
    train(tmp_path / "r", config_of(run__monitor_every_steps=5, optim__epochs=1))
    with (tmp_path / "r" / "steps.jsonl").open("a") as file:
        file.write('{"step": 13}\n')
    (tmp_path / "r" / name).write_text('nothing\n{"step": 1, "epoch": 1}\n')
    before = files(tmp_path / "r")
    with pytest.raises(ValueError, match=name):
        train(tmp_path / "r", config_of(optim__epochs=2))
    assert files(tmp_path / "r") == before


@pytest.mark.parametrize(("change", "words"), [("renamed", "step 12,"), ("seed", "run.seed is 1")])
def test_a_checkpoint_of_another_step_or_run_is_not_taken(tmp_path: Path, change: str, words: str) -> None:
    train(tmp_path / "r", config_of(optim__epochs=1))
    folder = tmp_path / "r" / "checkpoints"
    if change == "renamed":
        shutil.copy(folder / "step-000000012.pt", folder / "step-000000024.pt")
    else:
        train(tmp_path / "other", config_of(run__seed=1))
        shutil.copy(tmp_path / "other" / "checkpoints" / "step-000000024.pt", folder)
    with pytest.raises(ValueError, match=words):
        checkpoint.load_weights(folder, identity(config_of()))
    train(tmp_path / "r", config_of())
    train(tmp_path / "whole", config_of())
    assert_equal_runs(tmp_path / "whole", tmp_path / "r")
