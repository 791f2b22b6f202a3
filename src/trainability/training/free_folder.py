"""Folders that a run can be written to. No torch."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
from pathlib import Path
from typing import Any

from trainability.doctor.told import told

_OF_RUNS = ("config.toml", "loop.json", "*/loop.json")  # the last: one run per optimizer, below the folder
_NUM_OF_ONE = 2  # patterns of a run that is the folder's own


def next_free(name: str, root: Path = Path("runs")) -> Path:
    """Make the next free directory, NAME-001 and so on; two processes that call it at the same time get different ones.

    Raises:
        OSError: it cannot be made.
    """
    return _numbered(name, root, first=1)


def free_beside(folder: Path, *, holds_several: bool = False) -> Path:
    """Return a folder if it holds no run; otherwise make the next free one beside it, NAME-002 and so on.

    Args:
        folder: that is asked for.
        holds_several: it is for several runs, each in a directory of its own below it.

    Raises:
        ValueError: it cannot be made; one line.
    """
    if not any(found for pattern in _OF_RUNS[: None if holds_several else _NUM_OF_ONE] for found in folder.glob(pattern)):
        return folder
    named = folder if folder.name not in ("", "..") else folder.resolve()
    try:
        return _numbered(named.name, named.parent, first=2)
    except OSError as error:
        raise ValueError(f"{folder} already holds a run, and none can be made beside it ({error.strerror})") from None


def _numbered(name: str, root: Path, *, first: int) -> Path:
    stem = f"{name}-"
    root.mkdir(parents=True, exist_ok=True)
    found = (path.name.removeprefix(stem) for path in root.iterdir() if path.name.startswith(stem))
    taken = [int(rest) for rest in found if re.fullmatch(r"[0-9]{1,9}", rest)]
    for number in itertools.count(max([first - 1, *taken]) + 1):
        folder = root / f"{stem}{number:03d}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise AssertionError


def check_is_path(name: str, value: Any) -> None:
    """Raise a one-line `ValueError` if a value cannot be the path of a run directory."""
    if not isinstance(value, str | os.PathLike):
        raise ValueError(f"{name} is {told(value)}; expected the path of a run directory, such as 'runs/mine'")


def check_is_free(folder: Path) -> None:
    """Raise a one-line `ValueError` if a folder holds a run, or several below it, or cannot be written."""
    if any(found for pattern in _OF_RUNS for found in folder.glob(pattern)):
        raise ValueError(f"{folder} already holds a run; choose another directory")
    check_is_writable(folder)


def check_is_writable(folder: Path) -> None:
    """Raise a one-line `ValueError` if a folder, or the one that it would be made in, cannot be written."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise ValueError(f"{folder} cannot be written ({nearest} is no directory)")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ValueError(f"{folder} cannot be written ({os.strerror(errno.EACCES)})")
