"""Kill -9 at random moments: what comes out is bit for bit the uninterrupted run."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import QuietDisplay, config_of, flags_of, train

from trainability.training import checkpoint
from trainability.training.record import read_rows, read_run

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
    start = [sys.executable, "-m", "trainability", "train"]
    flags = [*start, *flags_of(config), "--run.dir", "killed"]
    steps = tmp_path / "killed" / "steps.jsonl"
    kills, seen = 0, set()
    while kills < 20:
        process = subprocess.Popen(
            flags, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        # Wait for some progress, so that twenty kills do not take for ever, and then for a random moment of a step, a read,
        # a checkpoint or an evaluation.
        before = steps.stat().st_size if steps.exists() else 0
        while process.poll() is None and (not steps.exists() or steps.stat().st_size <= before + 400):
            time.sleep(0.002)
        time.sleep(draw.random() * 0.15)
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
        seen.add(len(read_rows(steps)))
        read_run(tmp_path / "killed")  # can be read at any time
        if (tmp_path / "killed" / "config.toml").exists():
            flags = [*start, "--resume", "killed"]
    assert kills == 20
    assert len(seen) > 5
    finished = subprocess.run(flags, cwd=tmp_path, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    whole = subprocess.run([*start, *flags_of(config), "--run.dir", "whole"], cwd=tmp_path, capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr
    assert_equal_runs(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.parametrize("stop_after", [1, 5, 12, 13])
def test_a_stop_in_any_place_of_an_epoch(tmp_path: Path, stop_after: int) -> None:
    config = config_of(optim__micro_batch_size=50)

    class Stopper(QuietDisplay):
        def step(self, position) -> None:
            if position.step == stop_after:
                signal.raise_signal(signal.SIGINT)

    stopped = train(tmp_path / "stopped", config, display=Stopper())
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
    assert "continuing from step-000000010.pt" in listener.notes[0]
    assert_equal_runs(tmp_path / "whole", tmp_path / "torn")
