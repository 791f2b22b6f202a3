"""JSON files that contain the SHA-256 of their own contents, and stamps of other files: size and SHA-256."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from trainability.disk import regular, whole


class Damaged(ValueError):
    """The contents of a file do not match its digest."""


def write(path: Path, values: dict[str, Any]) -> None:
    """Write a file atomically.

    Args:
        path: of the file.
        values: plain containers, without a key `sha256`.

    Raises:
        OSError: it cannot be written.
    """
    whole.write(path, json.dumps({"sha256": _digest(values), **values}, indent=1).encode())


def read(path: Path) -> dict[str, Any]:
    """Read a file that `write` made, without its digest.

    Raises:
        OSError: it cannot be read.
        Damaged: it was changed.
        ValueError: it is not a regular file, but a device, for instance.
    """
    data = regular.read(path)
    try:
        values = json.loads(data)
        if values.pop("sha256") == _digest(values):
            return values
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        pass
    raise Damaged(f"{path.name} was changed or damaged")


def stamp(path: Path) -> list[Any]:
    """Return the size of a file in bytes, and its SHA-256.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return [path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()]


def _digest(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
