"""Files that are there whole or not at all, whatever kills the process that writes them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

PARTIAL = ".partial"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when the block ends, flushed to the disk before and renamed in one step.

    The name that it is written under belongs to this process alone, so two processes that write the same file at the same
    time leave one of the two files, never a mixture.

    Args:
        path: of the file; the one that is there stays as it is until the end of the block, and if the block fails.

    Raises:
        OSError: it cannot be written; nothing is left of it. `filename` is the path.
    """
    partial = partial_of(path)
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink()  # room for others, where the disk is full
        if isinstance(error, OSError) and error.filename in (None, str(partial)):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    sync_folder(path.parent)


def partial_of(path: Path) -> Path:
    """Name the file, or the folder, that this process writes before it becomes `path`."""
    return path.with_name(f"{path.name}.{socket.gethostname()}-{os.getpid()}{PARTIAL}")


def _is_being_written(name: str) -> bool:
    """Tell whether another process of this machine is still there that writes a file of this name."""
    found = re.search(rf"\.{re.escape(socket.gethostname())}-(\d+){re.escape(PARTIAL)}$", name)
    if found is None or int(found[1]) == os.getpid():
        return False
    try:
        os.kill(int(found[1]), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        OSError: it cannot be written; the one that was there before is as it was.
    """
    with replacing(path) as file:
        file.write(data)


def sync_folder(folder: Path) -> None:
    """Make a rename last through a power failure, not only through a kill."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no such call, and need none
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_partials(folder: Path) -> None:
    """Remove what killed processes left; for whoever holds the folder alone (`lock.held`)."""
    for path in folder.glob(f"*{PARTIAL}"):
        if _is_being_written(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
