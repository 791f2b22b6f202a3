"""Read a path given by the user, which may be anything: a pipe without a writer, a device without an end."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO


def read(path: Path, *, most_bytes: int = 2**31) -> bytes:
    """Read a whole file.

    Args:
        path: a regular file, or a pipe that the shell made for this process, as `<(command)` does.
        most_bytes: largest accepted size.

    Raises:
        OSError: it does not exist, or cannot be read.
        ValueError: it is not such a file, or is larger.
    """
    # Non-blocking: opening a named pipe that has no writer would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            # Read to the end in one call: for a given number of bytes, Python would allocate that much memory first.
            data = file.read() if status.st_size <= most_bytes else None
        elif stat.S_ISFIFO(status.st_mode) and os.path.realpath(path).startswith("/proc/"):
            os.set_blocking(descriptor, True)
            data = _bounded(file, most_bytes)
        else:
            raise ValueError(f"{path} is not a file{_kind(status.st_mode)}")
    if data is None or len(data) > most_bytes:
        raise ValueError(f"{path} has more than {most_bytes:,} bytes")
    return data


def _bounded(file: BinaryIO, most_bytes: int) -> bytes:
    parts, left = [], most_bytes + 1
    while left and (part := file.read(min(left, 2**20))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    kind = kinds.get(stat.S_IFMT(mode))
    return f", but {kind}" if kind else ""
