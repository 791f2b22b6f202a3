"""The verdict of a run of which only the directory is known: of its steps only the last are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainability.doctor.reading import WINDOW_STEPS
from trainability.training.record import FINDINGS, LOOP, STEPS
from trainability.training.rows import parse, read_json
from trainability.training.run_verdict import TRAINS, ended_verdict

_TAIL_BYTES = 1 << 16  # a row is about 200 bytes


def folder_verdict(folder: Path, verdict: str) -> str:
    """Name a verdict on a run as `run_verdict` does.

    Args:
        folder: run directory.
        verdict: of the last diagnosis.

    Raises:
        ValueError: a file is damaged.
    """
    if verdict != TRAINS or read_json(folder / "result.json", None) is None:
        return verdict
    facts = (read_json(folder / name, {}) for name in (FINDINGS, "data.json", LOOP))
    return ended_verdict(_last_rows(folder / STEPS), *facts)


def _last_rows(path: Path) -> list[Any]:
    if not path.exists():
        return []
    skipped = max(path.stat().st_size - _TAIL_BYTES, 0)
    with path.open("rb") as file:
        file.seek(skipped)
        lines = file.read().split(b"\n")
    complete = lines[1:-1] if skipped else lines[:-1]
    return [parse(line, str(path)) for line in complete[-WINDOW_STEPS:]]
