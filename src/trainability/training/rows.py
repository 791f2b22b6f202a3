"""Read JSON files of runs, which may have been changed or damaged since they were written.

A row is a dict in which a missing key raises a `ValueError` with file, line and key. So code that reads runs need not check for
keys, and a damaged file never causes a traceback.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trainability.disk import regular

CHANGED = "the file was changed or damaged"


class Row(dict[str, Any]):
    """A JSON object of a run's file."""

    where = ""

    def __missing__(self, key: str) -> Any:
        """Raise the `ValueError` of a missing key."""
        raise ValueError(f"{self.where} has no {key}; {CHANGED}")


# Types of the fields, if present. A number that was not finite is null.
_KINDS: dict[str, tuple[type, ...]] = {
    "step": (int,),
    "epoch": (int,),
    "clipped": (bool,),
    "name": (str,),
    "rule": (str,),
    "severity": (str,),
    "status": (str,),
    "class_names": (list,),
    "findings": (list,),
    "explains": (list,),
    "measurements": (list,),
    "not_checked": (list,),
    "layers": (list,),
    "shape": (list,),
    "num_train": (int,),
    "num_val": (int,),
    "val_num_examples": (int,),
    "lr_drops": (int,),
    "micro_batches": (int,),
}
_NUMBERS = {
    *("lr", "loss", "top1_error", "top5_error", "gradient_norm", "images_per_second", "train_seconds", "best_top1_error"),
    *(f"{split}_{name}" for split in ("train", "val") for name in ("loss", "top1_error", "top5_error")),
}
_LARGEST = 2**63
# Names of fields in older versions.
_OLDER_NAMES = {"grad_norm": "gradient_norm"}


def parse(text: bytes, where: str) -> Any:
    """Parse strict JSON; objects become rows.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return json.loads(text.decode("utf-8"), object_hook=lambda values: _row(values, where))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise ValueError(f"{where} is not JSON; {CHANGED}") from None


def _row(values: dict[str, Any], where: str) -> Row:
    row = Row({_OLDER_NAMES.get(name, name): value for name, value in values.items()})
    row.where = where
    return row


def check(row: Any, where: str) -> Row:
    """Check that a value is an object, and the types of its fields.

    Raises:
        ValueError: gives the first wrong field.
    """
    if not isinstance(row, Row):
        raise ValueError(f"{where} is {_said(row)}, not an object; {CHANGED}")
    for key, value in row.items():
        kinds = _KINDS.get(key)
        if kinds is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            raise ValueError(f"{where}: {key} is {_said(value)}; {CHANGED}")
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if key in _NUMBERS and not (is_number or value is None):
            raise ValueError(f"{where}: {key} is {_said(value)}, not a number; {CHANGED}")
        if isinstance(value, int) and abs(value) >= _LARGEST:
            raise ValueError(f"{where}: {key} is {_said(value)}; {CHANGED}")
    for number, finding in enumerate(row.get("findings", ()), start=1):
        check(finding, f"{where}: finding {number}")
    for key in ("step", "epoch"):
        if row.get(key, 0) < 0:
            raise ValueError(f"{where}: {key} is {row[key]}; {CHANGED}")
    return row


def _said(value: Any) -> str:
    said = json.dumps(value) if not isinstance(value, int) else f"{value}" if abs(value) < _LARGEST else "beyond 2^63"
    return said if len(said) <= 60 else f"{said[:30]} … {said[-20:]}"


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a JSON-lines file without the incomplete last line that a kill may leave.

    Raises:
        ValueError: a line other than the last cannot be read, or is not a record.
    """
    data = _bytes(path)
    if data is None:
        return []
    lines = data.splitlines(keepends=True)
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        where = f"{path}: line {number}"
        try:
            row = parse(line, where)
        except ValueError:
            if number == len(lines):
                break
            raise
        rows.append(check(row, where))
    return rows


def read_json(path: Path, default: Any) -> Any:
    """Read a JSON file; if there is none, return `default`, which also gives the expected type.

    Raises:
        ValueError: it is damaged, or has another type.
    """
    data = _bytes(path)
    if data is None:
        return default
    value = parse(data, str(path))
    if isinstance(default, list):
        if not isinstance(value, list):
            raise ValueError(f"{path} is not a list; {CHANGED}")
        return [check(row, f"{path}: entry {number}") for number, row in enumerate(value, start=1)]
    return check(value, str(path))


def _bytes(path: Path) -> bytes | None:
    try:
        return regular.read(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from None
