"""Reading a file that grows: only what is new, only whole lines, and from the start where it was cut back."""

import json
import os
from pathlib import Path

import pytest

from trainability.watch import tail as tails
from trainability.watch.tail import Tail, read_replaced


def line(step: int, **more: object) -> bytes:
    return json.dumps({"step": step, **more}).encode() + b"\n"


def numbers(tail: Tail) -> list[int]:
    return [row["step"] for row in tail.read().rows]


def test_a_row_is_there_with_its_last_byte_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    tail = Tail(path, key="step")
    assert numbers(tail) == []
    found, whole = [], line(1, name="größe") + line(2) + line(3)
    with path.open("wb", buffering=0) as file:
        for end in range(1, len(whole) + 1):
            file.write(whole[end - 1 : end])
            new = tail.read()
            assert not new.is_restart
            assert tail.problem is None
            found += [row["step"] for row in new.rows]
            assert len(found) == whole[:end].count(b"\n")
    assert found == [1, 2, 3]


def test_only_the_appended_bytes_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "steps.jsonl"
    path.write_bytes(b"".join(map(line, range(1, 1001))))
    tail = Tail(path, key="step")
    assert len(numbers(tail)) == 1000
    with path.open("ab") as file:
        file.write(line(1001))
    parsed = []
    parse = tails.parse
    monkeypatch.setattr(tails, "parse", lambda text, where: parsed.append(text) or parse(text, where))
    assert numbers(tail) == [1001]
    assert parsed == [line(1001)]


def replace(path: Path, content: bytes) -> None:
    partial = path.with_name("partial")
    partial.write_bytes(content)
    partial.replace(path)


@pytest.mark.parametrize("num_after", [0, 1, 3, 4, 5, 9])
def test_a_file_that_was_cut_back_is_read_from_its_start(tmp_path: Path, num_after: int) -> None:
    path = tmp_path / "steps.jsonl"
    path.write_bytes(b"".join(line(step, speed=0.25) for step in range(1, 8)))
    tail = Tail(path, key="step")
    assert len(numbers(tail)) == 7
    # Back to step 3, and on again by the time of the next look: shorter than it was, as long, or longer.
    replace(path, b"".join(line(step, speed=0.25 if step <= 3 else 0.75) for step in range(1, 4 + num_after)))
    new = tail.read()
    assert new.is_restart
    assert [row["step"] for row in new.rows] == list(range(1, 4 + num_after))
    assert not tail.read().is_restart


def test_replaced_by_the_same_rows_and_more_it_is_only_longer(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    path.write_bytes(line(1) + line(2))
    tail = Tail(path, key="step")
    assert numbers(tail) == [1, 2]
    replace(path, line(1) + line(2) + line(3))
    new = tail.read()
    assert not new.is_restart
    assert [row["step"] for row in new.rows] == [3]


def test_bytes_that_are_not_there_yet_are_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    whole = line(1) + line(2) + line(3)
    # A network file system may show the length first, and zeros for the bytes.
    holed = bytearray(whole)
    holed[len(line(1)) + 2 : len(line(1)) + 8] = bytes(6)
    path.write_bytes(bytes(holed))
    tail = Tail(path, key="step")
    assert numbers(tail) == [1]
    assert f"byte {len(line(1))}" in str(tail.problem)
    with path.open("r+b") as file:
        file.write(whole)
    assert numbers(tail) == [2, 3]
    assert tail.problem is None


@pytest.mark.parametrize("wrong", [b"7\n", b"\n", b'{"epoch": 1}\n', b'{"step": "1"}\n', b'{"step": 0}\n', b"\xff\xfe\n"])
def test_what_is_no_record_is_named_and_not_taken(tmp_path: Path, wrong: bytes) -> None:
    path = tmp_path / "steps.jsonl"
    path.write_bytes(line(1) + wrong + line(2))
    tail = Tail(path, key="step")
    assert numbers(tail) == [1]
    assert "is no record" in str(tail.problem)


def test_a_file_that_is_away_for_a_while(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    path.write_bytes(line(1))
    tail = Tail(path, key="step")
    assert numbers(tail) == [1]
    path.rename(tmp_path / "away")
    assert numbers(tail) == []
    assert "is gone" in str(tail.problem)
    (tmp_path / "away").rename(path)
    with path.open("ab") as file:
        file.write(line(2))
    assert numbers(tail) == [2]


def test_of_a_long_file_the_newest_rows_are_enough(tmp_path: Path) -> None:
    path = tmp_path / "layers.jsonl"
    path.write_bytes(b"".join(map(line, range(1, 1001))))
    tail = Tail(path, key="step", newest_bytes=100)
    found = numbers(tail)
    assert found == list(range(found[0], 1001))
    assert 1 <= len(found) <= 100 // len(line(999))
    with path.open("ab") as file:
        file.write(line(1001))
    assert numbers(tail) == [1001]


def test_a_long_file_comes_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tails, "CHUNK_BYTES", 64)
    path = tmp_path / "steps.jsonl"
    path.write_bytes(b"".join(map(line, range(1, 21))))
    tail = Tail(path, key="step")
    found, pieces = [], 0
    while True:
        new = tail.read()
        found += [row["step"] for row in new.rows]
        pieces += 1
        if new.is_all:
            break
    assert found == list(range(1, 21))
    assert pieces > 3


def test_a_small_file_keeps_its_word_until_the_next_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "findings.json"
    assert read_replaced(path, None) is None
    path.write_text('{"verdict": "dead"}')
    before = read_replaced(path, None)
    assert before == {"verdict": "dead"}
    path.write_text('{"verdi')
    assert read_replaced(path, before) == before
    path.unlink()
    assert read_replaced(path, before) is None
    os.mkdir(path)
    assert read_replaced(path, before) == before
