"""One process at a time writes a run directory or a pack; the lock outlives neither a kill nor a fork."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import config_of, train

from trainability.cli import program as cli
from trainability.disk import lock, whole
from trainability.training.record import RunWriter

HOLD = """
import os, sys, time
from pathlib import Path
from trainability.disk import lock
with lock.held(Path(sys.argv[1])):
    if sys.argv[2] == "fork" and os.fork() == 0:
        time.sleep(60)
    print(os.getpid(), flush=True)
    time.sleep(60)
"""


def holder(folder: Path, how: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, folder, how], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == str(process.pid)
    return process


def test_a_second_holder_is_told_who_the_first_is(tmp_path: Path) -> None:
    with lock.held(tmp_path):
        with pytest.raises(lock.InUse, match=rf"process {os.getpid()} on \S+ \(trainability") as refusal:
            lock.held(tmp_path).__enter__()
        assert "\n" not in str(refusal.value)
    with lock.held(tmp_path):
        pass


@pytest.mark.parametrize("how", ["alone", "fork"])
def test_a_lock_goes_with_its_process_and_no_child_keeps_it(tmp_path: Path, how: str) -> None:
    process = holder(tmp_path, how)
    try:
        with pytest.raises(lock.InUse, match=f"process {process.pid} "):
            lock.held(tmp_path).__enter__()
        process.kill()
        process.wait()
        with lock.held(tmp_path):
            pass
    finally:
        os.killpg(process.pid, signal.SIGKILL) if how == "fork" else process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_who_waits_gets_it_when_the_holder_has_gone(tmp_path: Path) -> None:
    process = holder(tmp_path, "alone")
    waiting = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from trainability.disk import lock\n"
            "with lock.held(Path(sys.argv[1]), wait=True): print('held', flush=True)",
            tmp_path,
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    time.sleep(0.2)
    assert waiting.poll() is None
    process.kill()
    out, _ = waiting.communicate()
    assert out == "held\n"
    process.communicate()


def test_a_note_that_is_no_note_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / lock.FILE).write_text("[" * 100)
    with lock.held(tmp_path):
        assert json.loads((tmp_path / lock.FILE).read_text())["process"] == os.getpid()


def test_a_run_in_progress_is_not_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path / "r", config_of(optim__epochs=1))
    before = {path: path.read_bytes() for path in (tmp_path / "r").rglob("*") if path.is_file() and path.name != lock.FILE}
    with RunWriter(tmp_path / "r").held():
        with pytest.raises(SystemExit) as stop:
            cli.main(["train", "--resume", str(tmp_path / "r"), "--optim.epochs", "2"])
        assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"process {os.getpid()}" in said
    after = {path: path.read_bytes() for path in (tmp_path / "r").rglob("*") if path.is_file() and path.name != lock.FILE}
    assert after == before


def test_what_a_killed_process_left_goes_and_what_is_being_written_stays(tmp_path: Path) -> None:
    ours = whole.partial_of(tmp_path / "a.json")
    alive = ours.with_name(ours.name.replace(f"-{os.getpid()}", f"-{os.getppid()}"))
    for path in (ours, alive, tmp_path / "b.partial", tmp_path / "c.elsewhere-1.partial"):
        path.write_text("")
    (tmp_path / "step-000000003.partial").mkdir()
    whole.remove_partials(tmp_path)
    assert list(tmp_path.iterdir()) == [alive]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    whole.write(tmp_path / "a", b"old")
    with pytest.raises(TypeError), whole.replacing(tmp_path / "a") as file:
        file.write("new")  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"
