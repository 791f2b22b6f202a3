"""Write files atomically: a killed process leaves either the complete file or the previous one."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

PARTIAL = ".partial"
_BUFFER_BYTES = 2**17
"""Bytes given to the system at a time: a pack is written in pieces of a few kilobytes."""


@contextlib.contextmanager
def replacing(path: Path, *, syncs_folder: bool = True) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces `path` when the block ends: it is flushed to the disk and then renamed.

    Every process has its own temporary name, so two processes that write the same file at the same time leave one of the two
    files, never a mixture.

    Args:
        path: of the file; an existing file stays unchanged until the block ends, and if the block fails.
        syncs_folder: False if another file of the folder is written next, whose sync covers both names.

    Raises:
        OSError: it cannot be written; the temporary file is removed. `filename` is the path.
    """
    partial = partial_of(path)
    try:
        with partial.open("wb", buffering=_BUFFER_BYTES) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink()  # frees space if the disk is full
        if isinstance(error, OSError) and error.filename in (None, str(partial)):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    _remove_abandoned(path)
    if syncs_folder:
        sync_folder(path.parent)


def partial_of(path: Path) -> Path:
    """Return the temporary name of this process for a file or folder that becomes `path`."""
    return path.with_name(f"{path.name}.{socket.gethostname()}-{os.getpid()}{PARTIAL}")


def _writer(name: str) -> int | None:
    """Return the process of this machine that a temporary name belongs to; `None` if it is of another machine or old."""
    found = re.search(rf"\.{re.escape(socket.gethostname())}-(\d{{1,9}}){re.escape(PARTIAL)}$", name)
    return int(found[1]) if found else None


def _is_running(process: int) -> bool:
    """Whether a process of this machine exists and is not a zombie."""
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except (OSError, IndexError):  # another user's, or a system without /proc
        return True


def _remove_abandoned(path: Path) -> None:
    """Remove the temporary files that killed processes of this machine left of a file that has just been written."""
    for partial in path.parent.glob(f"{glob.escape(path.name)}.*{PARTIAL}"):
        writer = _writer(partial.name)
        if writer is not None and writer != os.getpid() and not _is_running(writer):
            partial.unlink(missing_ok=True)


def write(path: Path, data: bytes) -> None:
    """Write a file atomically.

    Raises:
        OSError: it cannot be written; an existing file is unchanged.
    """
    with replacing(path) as file:
        file.write(data)


def sync_folder(folder: Path) -> None:
    """Flush a rename to the disk, so that it survives a power failure too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems do not support this, and do not need it
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_partials(folder: Path) -> None:
    """Remove temporary files of killed processes; the caller holds the folder's lock (`lock.held`)."""
    for path in folder.glob(f"*{PARTIAL}"):
        writer = _writer(path.name)
        if writer is not None and writer != os.getpid() and _is_running(writer):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
