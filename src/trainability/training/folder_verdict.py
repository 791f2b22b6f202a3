"""The verdict of a run, given only its directory; only the last of its steps are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainability.doctor.tense import IS_TRAINING, STILL_TRAINING
from trainability.training.record import FINDINGS, LOOP, STEPS
from trainability.training.rows import parse, read_json
from trainability.training.run_state import has_ended
from trainability.training.run_verdict import verdict_of_records

_TAIL_BYTES = 1 << 16  # a row is about 200 bytes


def folder_verdict(folder: Path, verdict: str) -> str:
    """Return the verdict on a run in the words of `run_verdict`.

    Args:
        folder: run directory.
        verdict: of the last diagnosis.

    Raises:
        ValueError: a file is damaged.
    """
    if verdict not in (IS_TRAINING, STILL_TRAINING):
        return verdict
    is_over = has_ended(folder, read_json(folder / "result.json", None))
    facts = (read_json(folder / name, {}) for name in (FINDINGS, "data.json", LOOP))
    return verdict_of_records(verdict, _last_rows(folder / STEPS), *facts, has_ended=is_over)


def _last_rows(path: Path) -> list[Any]:
    if not path.exists():
        return []
    skipped = max(path.stat().st_size - _TAIL_BYTES, 0)
    with path.open("rb") as file:
        file.seek(skipped)
        lines = file.read().split(b"\n")
    complete = lines[1:-1] if skipped else lines[:-1]
    return [parse(line, str(path)) for line in complete]
