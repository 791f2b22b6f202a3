"""Lock a directory for one process.

The lock is the operating system's (`flock`): it ends with the process or its machine, in whatever way they end, and on a shared
disk it holds between machines. The lock file tells people who holds the lock; its contents have no effect on the lock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import sys
import time
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

FILE = ".lock"
# `is_held` of another process holds a shared lock for microseconds.
_NUM_TRIES, _INSTANT_SECONDS = 3, 0.02
_UNSUPPORTED = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}

_held: set[int] = set()
"""Descriptors of this process's locks; a forked child closes them, because it would share them."""


class InUse(ValueError):
    """Another process holds the directory; the message says which."""


@contextlib.contextmanager
def held(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a directory while the block runs.

    Args:
        folder: an existing directory.
        wait: wait for the process that holds the lock, instead of raising `InUse`.

    Raises:
        InUse: another process holds the lock, and `wait` is off.
        OSError: the lock file cannot be created.
    """
    descriptor = os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    _held.add(descriptor)
    try:
        _take(descriptor, folder, wait=wait)
        yield
    finally:
        _held.discard(descriptor)
        os.close(descriptor)


def is_held(folder: Path, *, unknown: bool = False) -> bool:
    """Whether a process holds the lock of a directory. Writes nothing, so it also works for other people's directories.

    It takes a shared lock for an instant. `held` tries again after an instant, so this never makes `held` fail.

    Args:
        folder: the directory.
        unknown: returned if the answer is unknown: the lock file cannot be read, or the file system has no locks.
    """
    try:
        with (folder / FILE).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except OSError:
        return unknown
    return False


def _take(descriptor: int, folder: Path, *, wait: bool) -> None:
    try:
        for _ in range(_NUM_TRIES - 1):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(_INSTANT_SECONDS)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise InUse(f"{folder} is in use by {_holder(descriptor)}; wait until it has ended, or end it") from None
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        warnings.warn(
            f"{folder} is on a file system without locks ({error.strerror}): nothing keeps a second process from writing there",
            RuntimeWarning,
            stacklevel=4,
        )
        return
    note = {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "command": " ".join(["trainability", *sys.argv[1:]])[:200],
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(note).encode(), 0)


def _holder(descriptor: int) -> str:
    """Read from the lock file who holds the lock."""
    try:
        note = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {note['process']} on {note['host']} ({note['command']}) since {note['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # the holder has not written the file yet
        return "another process"


def _let_go() -> None:
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)
