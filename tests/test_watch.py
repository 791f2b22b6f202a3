"""`trainability watch` as a user calls it: a line per event without a terminal, a screen in one, no mark on the run."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import config_of, flags_of, hear_ctrl_c
from rich.console import Console
from runs_on_disk import FINDING, begin, diagnosed, end, epoch, steps

from trainability.watch import screen as watching
from trainability.watch.screen import EventLines, watch_run
from trainability.watch.state import LiveRun


def test_everything_is_told_once_and_the_end_last(tmp_path: Path) -> None:
    record = begin(tmp_path / "run")
    run = LiveRun(tmp_path / "run")
    lines = EventLines(run)

    def told() -> list[str]:
        run.poll()
        return list(lines.news())

    what, waiting = told()
    assert all(part in what for part in ("VGG-B", "digits", "3 epochs", str(tmp_path / "run")))
    assert "first step" in waiting
    assert told() == []
    hint = FINDING | {"rule": "input_scale", "severity": "hint"}
    diagnosed(record, 0, "will train", hint)
    verdict, found = told()
    assert verdict.startswith("check: will train: ")
    assert found == f"hint input_scale: {FINDING['seen']}"
    steps(record, 1, 4)
    assert told() == []
    epoch(record, 1)
    (line,) = told()
    assert line.startswith("epoch 1/3  loss 0.500 val 0.500  top-1 error 50.00 % val 50.00 % *")
    diagnosed(record, 4, "dead", FINDING | {"severity": "warning"}, hint)
    verdict, found = told()
    assert verdict.startswith("step 4: dead: ")
    assert found.startswith(
        f"warning vanishing_gradient: {FINDING['cause']}; seen: {FINDING['seen']}; change: {FINDING['remedy']}"
    )
    assert "trainability explain vanishing_gradient" in found
    diagnosed(record, 5, "dead", FINDING, hint)  # it got worse
    (found,) = told()
    assert found.startswith("error vanishing_gradient")
    steps(record, 5, 12)
    epoch(record, 2, val_loss=None, val_top1_error=None)
    epoch(record, 3)
    end(record)
    second, third, last = told()
    assert "val nan" in second
    assert third.startswith("epoch 3/3")
    assert re.fullmatch("finished .*3 epochs, 12 steps.* 12.50 % .*step 8", last)


def test_a_continued_run_tells_only_the_epochs_that_are_new(tmp_path: Path) -> None:
    record = begin(tmp_path / "run")
    steps(record, 1, 8)
    epoch(record, 1)
    epoch(record, 2)
    run = LiveRun(tmp_path / "run")
    lines = EventLines(run)
    list(lines.news())
    record.rewind(step=4, epoch=1)
    steps(record, 5, 8, loss=0.5)
    epoch(record, 2, train_seconds=3.0, train_loss=0.75)
    run.poll()
    continued, line = lines.news()
    assert "checkpoint" in continued
    assert line.startswith("epoch 2/3  loss 0.750")


def test_silence_is_told_and_again_when_it_is_twice_as_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(tmp_path / "run")
    run = LiveRun(tmp_path / "run")
    lines = EventLines(run)
    list(lines.news())
    start = time.monotonic()

    def told(seconds: int) -> list[str]:
        monkeypatch.setattr("trainability.watch.state.time.monotonic", lambda: start + seconds)
        run.poll()
        return list(lines.news())

    assert told(50) == []
    (line,) = told(100)
    assert "1 min 40 s" in line
    assert told(150) == []
    assert len(told(250)) == 1


def test_seconds_that_cannot_be_used(tmp_path: Path) -> None:
    begin(tmp_path / "run")
    for every in (0.0, -1.0, float("nan"), 1e9):
        with pytest.raises(ValueError, match=r"0\.1 to 3600"):
            watch_run(tmp_path / "run", every=every, once=True)


def test_once_draws_the_screen_without_a_terminal_too(command, tmp_path: Path) -> None:
    steps(begin(tmp_path / "run"), 1, 4)
    answer = command("watch", "run", "--once", COLUMNS="80", LINES="24")
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    assert len(lines) <= 23
    assert max(map(len, lines)) <= 80
    assert "step 4/12" in answer.stdout


def test_once_cuts_no_line_in_a_pipe(command, tmp_path: Path) -> None:
    record = begin(tmp_path / "run")
    steps(record, 1, 4)
    words = " ".join(f"word{number}" for number in range(40))
    finding = {"rule": "plateau", "severity": "error", "cause": words, "seen": words, "remedy": words}
    record.write_findings(step=4, verdict="stalled", reason=words, findings=[finding], evidence=None)
    answer = command("watch", "run", "--once", COLUMNS="80", LINES="24")
    assert max(map(len, answer.stdout.splitlines())) <= 80
    assert " ".join(answer.stdout.split()).count(words) == 4


def test_no_run_is_one_line_and_exit_code_2(command) -> None:
    answer = command("watch", "nowhere")
    assert answer.returncode == 2
    assert re.fullmatch(r"trainability: nowhere\b.*\n", answer.stderr)


def watch(folder: Path, **more: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "trainability", "watch", str(folder), "--every", "0.1"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
    return subprocess.Popen(command, text=True, env=environment, preexec_fn=hear_ctrl_c, **streams)  # pyright: ignore


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_ctrl_c_ends_the_watching_and_leaves_the_run_as_it_was(tmp_path: Path) -> None:
    steps(begin(tmp_path / "run"), 1, 4)
    before = contents(tmp_path / "run")
    process = watch(tmp_path / "run")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("VGG-B on digits")
    process.send_signal(signal.SIGINT)
    _, problems = process.communicate()
    assert (process.returncode, problems) == (0, "")
    assert contents(tmp_path / "run") == before


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    record = begin(tmp_path / "run")
    with watch(tmp_path / "run") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        epoch(record, 1)
        assert process.wait() == 0
        assert process.stderr.read() == ""


def test_in_a_terminal_the_screen_is_drawn_until_the_run_ends(tmp_path: Path) -> None:
    record = begin(tmp_path / "run")
    steps(record, 1, 4)
    leader, follower = pty.openpty()
    with watch(tmp_path / "run", stdout=follower, stdin=follower) as process:
        os.close(follower)
        shown = b""
        while b"step 4/12" not in shown:
            shown += os.read(leader, 65536)
        steps(record, 5, 12)
        while b"step 12/12" not in shown:
            shown += os.read(leader, 65536)
        end(record)
        with contextlib.suppress(OSError):  # what Linux says at the end of a terminal
            while data := os.read(leader, 65536):
                shown += data
        assert process.wait() == 0
    os.close(leader)
    # The screen of its own is left, the cursor is back, and the last view stays.
    left = shown.rindex(b"\x1b[?1049l")
    assert shown.index(b"\x1b[?1049h") < left
    assert b"\x1b[?25h" in shown
    assert re.search(rb"finished .*3 epochs, 12 steps", shown[left:])


def test_a_real_run_is_watched_from_its_first_step_to_its_end(tmp_path: Path) -> None:
    config = config_of(run__log_every_steps=1, run__check="on")
    folder = tmp_path / "run"
    flags = [*flags_of(config), "--run.dir", str(folder)]
    training = subprocess.Popen([sys.executable, "-m", "trainability", "train", *flags], stdout=subprocess.DEVNULL)
    while not (folder / "config.toml").exists():
        assert training.poll() is None
        time.sleep(0.05)
    process = watch(folder)
    out, problems = process.communicate()
    assert training.wait() == 0
    assert (process.returncode, problems) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("VGG-A on digits, 2 epochs")
    assert [line.split("  ")[0] for line in lines if line.startswith("epoch")] == ["epoch 1/2", "epoch 2/2"]
    # Whether it sees the check before the first step depends on which of the two processes is up sooner.
    assert re.match("finished .*2 epochs, 24 steps", lines[-1])


def test_a_terminal_that_changes_its_size_is_drawn_anew_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = begin(tmp_path / "run")
    sizes = []

    def draw(run: LiveRun, *, width: int, height: int, is_whole: bool) -> str:
        assert not is_whole
        sizes.append((width, height))
        console.width = 100
        if len(sizes) == 2:
            end(record)
            run.poll()
        return ""

    with open(os.devnull, "w") as file:
        console = Console(width=80, height=24, force_terminal=True, file=file)
        monkeypatch.setattr(watching, "plain_console", lambda: console)
        monkeypatch.setattr(watching, "view", draw)
        watch_run(tmp_path / "run", every=3600, once=False)
    assert sizes[:2] == [(80, 24), (100, 24)]
