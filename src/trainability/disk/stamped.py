"""A JSON file that carries the SHA-256 of what it says, and what says the same of other files: their sizes and digests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from trainability.disk import regular, whole


class Damaged(ValueError):
    """A file does not say what its digest is of."""


def write(path: Path, values: dict[str, Any]) -> None:
    """Write a file whole or not at all.

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
        ValueError: it is no file, but a device or the like.
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
    """Say how many bytes a file has, and their SHA-256.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return [path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()]


def _digest(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
