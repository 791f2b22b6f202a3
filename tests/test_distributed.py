"""Two processes against one: the same global batches, the same losses to rounding, the same validation counts."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import config_of, flags_of

from trainability.training import checkpoint
from trainability.training.record import read_run
from trainability.training.run_monitor import diagnose_run

# A rate at which rounding is not magnified, so that "equal to rounding" can be asked of every step.
CALM = config_of(optim__lr=1e-4, optim__epochs=2, optim__clip=5.0)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("single")
    command = [sys.executable, "-m", "trainability", "train", *flags_of(CALM), "--run.dir", "one"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return read_run(folder / "one")


def agree(run, single) -> None:
    for name in ("loss", "gradient_norm"):
        ours, theirs = ([row[name] for row in r.steps] for r in (run, single))
        assert ours == pytest.approx(theirs, rel=1e-4)
    assert [row["step"] for row in run.steps] == [row["step"] for row in single.steps]
    for ours, theirs in zip(run.evaluations, single.evaluations, strict=True):
        for name in ("val_num_examples", "val_top1_error", "val_top5_error"):
            assert ours[name] == theirs[name]
        assert ours["val_loss"] == pytest.approx(theirs["val_loss"], rel=1e-4)
        assert ours["train_top1_error"] == pytest.approx(theirs["train_top1_error"], abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "sharded"])
@pytest.mark.parametrize("micro_batch_size", [None, 20])
def test_two_processes_equal_one(command, tmp_path: Path, single, parallel: str, micro_batch_size: int | None) -> None:
    flags = [*flags_of(CALM), "--run.dir", "two", "--run.parallel", parallel]
    if micro_batch_size:
        flags += ["--optim.micro-batch-size", str(micro_batch_size)]
    answer = command("train", *flags, processes=2, OMP_NUM_THREADS="1")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("epoch 1/2") == 1  # only one of them speaks
    run = read_run(tmp_path / "two")
    agree(run, single)
    assert run.environment["world_size"] == 2
    diagnosis = diagnose_run(run.folder)
    assert diagnosis.evidence.processes is not None
    assert [row.step for row in diagnosis.evidence.processes.comparisons] == [1]
    assert not {"unsynchronised", "same_batches"} & {finding.rule for finding in diagnosis.findings}
    weights = checkpoint.load_weights(tmp_path / "two" / "checkpoints", {})
    expected = checkpoint.load_weights(single.folder / "checkpoints", {})
    assert sorted(weights) == sorted(expected)
    for name, value in expected.items():
        torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "sharded"])
def test_two_killed_processes_resume_exactly(command, tmp_path: Path, parallel: str) -> None:
    config = config_of(optim__lr=1e-3, run__checkpoint_every_steps=5, run__log_every_steps=1, run__parallel=parallel)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "trainability"]
    process = subprocess.Popen(
        [*launcher, "train", *flags_of(config), "--run.dir", "killed"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    steps = tmp_path / "killed" / "steps.jsonl"
    while process.poll() is None and (not steps.exists() or steps.read_bytes().count(b"\n") < 8):
        time.sleep(0.005)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(workers) == 2
    for worker in workers:
        os.kill(int(worker), signal.SIGKILL)
    process.wait()
    answer = command("train", "--resume", "killed", processes=2, OMP_NUM_THREADS="1")
    assert answer.returncode == 0, answer.stderr
    whole = command("train", *flags_of(config), "--run.dir", "whole", processes=2, OMP_NUM_THREADS="1")
    assert whole.returncode == 0, whole.stderr
    killed, uninterrupted = (read_run(tmp_path / name) for name in ("killed", "whole"))
    assert [row["loss"] for row in killed.steps] == [row["loss"] for row in uninterrupted.steps]
    one, other = (checkpoint.load_weights(run.folder / "checkpoints", {}) for run in (killed, uninterrupted))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2), (2, 3)])
@pytest.mark.parametrize("parallel", ["ddp", "sharded"])
def test_another_number_of_processes_resumes(command, tmp_path: Path, single, parallel: str, before: int, after: int) -> None:
    flags = [*flags_of(CALM), "--optim.epochs", "1", "--run.dir", "half", "--run.parallel", parallel]
    began = command("train", *flags, processes=before, OMP_NUM_THREADS="1")
    assert began.returncode == 0, began.stderr
    answer = command("train", "--resume", "half", "--optim.epochs", "2", processes=after, OMP_NUM_THREADS="1")
    assert answer.returncode == 0, answer.stderr
    run = read_run(tmp_path / "half")
    assert run.environment["world_size"] == after
    agree(run, single)


@pytest.mark.slow
def test_a_mistake_is_said_once(command) -> None:
    answer = command("train", "--optim.lr", "0", processes=2)
    assert answer.returncode != 0
    assert answer.stderr.count("optim.lr is 0") == 1


@pytest.mark.slow
@pytest.mark.parametrize("first", [True, False])
def test_a_mistake_of_one_process_is_said_whichever_it_is(tmp_path: Path, first: bool) -> None:
    """The other one would go on for a minute, and has nothing to say."""
    program = tmp_path / "program.py"
    program.write_text(
        f"""import os, sys, time
from trainability.cli import program
if (os.environ["RANK"] == "0") is not {first}:
    time.sleep(60)
    sys.exit(0)
program._PATIENCE = 1
sys.argv = ["trainability", "train", "--optim.lr", "0"]
program.main()
"""
    )
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    answer = subprocess.run([*launcher, str(program)], capture_output=True, text=True)
    assert answer.returncode != 0
    assert answer.stderr.count("optim.lr is 0") == 1
