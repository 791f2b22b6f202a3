"""A few cases of each campaign; `make campaigns` runs them all (tests/campaigns)."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from campaigns import forks, inputs, kills
from campaigns.__main__ import OTHERWISE, SHARES, kill_once, try_inputs
from campaigns.injection import Injector

NOTHING: dict[str, Any] = {"tried": 0, "refused": 0, "taken": 0, "seconds": 0.0}
NO_KILL: dict[str, Any] = {"kills": 0, "runs": 0, "refused": 0, "seconds": 0.0}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("campaigns")


@pytest.fixture(scope="module")
def kinds(root: Path) -> dict[str, inputs.Kind]:
    return inputs.kinds(root)


def test_a_damaged_input_of_each_kind_is_refused_in_a_line_or_taken_for_what_it_is(kinds: dict[str, inputs.Kind]) -> None:
    num_refused = 0
    for kind in kinds.values():
        counted = {**NOTHING, "wrong": []}
        try_inputs(counted, kind, 12)
        assert counted["wrong"] == []
        num_refused += counted["refused"]
    assert num_refused > 6 * len(kinds)


def test_what_goes_wrong_is_counted() -> None:
    def kind(draw: Any) -> None:
        what = draw.choice(("crash", "traceback", "silent", "lines", "memory"))
        if what == "crash":
            signal.raise_signal(signal.SIGKILL)
        if what == "silent":
            raise inputs.Silent("another image")
        if what == "lines":
            raise ValueError
        if what == "memory":
            bytearray(2**34)
        raise KeyError("x")

    counted = {**NOTHING, "wrong": []}
    try_inputs(counted, kind, 30)
    assert counted["tried"] == 30
    assert (counted["refused"], counted["taken"]) == (0, 0)
    for said in ("killed", "KeyError", "silent: another image", "not a line", "MemoryError"):
        assert any(said in line for line in counted["wrong"]), said


def test_a_hang_is_ended_and_named() -> None:
    assert forks.run(signal.pause, seconds=0.3) == "hang"
    assert list(forks.stream(lambda number: signal.pause() if number == 1 else number, iter(range(3)), seconds=0.5)) == [
        (0, 0),
        (1, "hang"),
        (2, 2),
    ]


def test_the_process_ends_at_the_change_that_was_chosen(tmp_path: Path) -> None:
    def work() -> None:
        (tmp_path / "a").write_bytes(b"12")
        (tmp_path / "b").write_bytes(b"3456")
        (tmp_path / "a").rename(tmp_path / "c")

    for at, names, place in ((1, {"a"}, "write"), (2, {"a", "b"}, "write"), (3, {"a", "b"}, "rename"), (None, {"b", "c"}, "")):
        for path in tmp_path.iterdir():
            path.unlink()
        injector = Injector(tmp_path, at=at)
        answer = forks.run(lambda injector=injector: injector.install() or work())
        assert answer == ("killed" if at else None)
        assert {path.name for path in tmp_path.iterdir()} == names
        assert injector.place.partition(" ")[0] == place
        if at == 2:
            assert (tmp_path / "b").read_bytes() == b"34"
    assert injector.count == 3


@pytest.mark.parametrize("name", SHARES)
def test_killed_work_is_taken_up_and_ends_as_whole_work_does(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of, action = OTHERWISE.get(name, (name, "kill"))
    monkeypatch.setattr(kills, "MOST_KILLS", 2 if action == "stop" else 1)  # the first is before there is anything to refuse
    work = kills.campaigns(root)[of]
    total = kills.num_changes(work, root, name)
    counted = {**NO_KILL, "at": {}, "wrong": []}
    kill_once(counted, work, root, name, total, action=action)
    assert counted["wrong"] == []
    assert counted["kills"] >= 1
    assert (counted["refused"] > 0) == (name == "two processes")


def test_a_run_that_comes_out_otherwise_is_noticed(root: Path) -> None:
    work = kills.campaigns(root)["report"]
    total = kills.num_changes(work, root, "report")
    other = root / "whole-report" / "run" / "steps.jsonl"
    other.write_text(other.read_text().replace('"loss": ', '"loss": 1'))
    assert kills.one(work, root, "report", 0, total)["wrong"] == "steps.jsonl differs"
