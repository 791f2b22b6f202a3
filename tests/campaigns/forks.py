"""Cases in forked processes, so that a crash, a hang or a kill ends the case and not the campaign."""

from __future__ import annotations

import contextlib
import os
import pickle
import resource
import select
import signal
import struct
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

MOST_SECONDS = 60.0
MOST_MEMORY = 2 * 2**30
"""Bytes that a case may take beyond what the process has when it begins."""


def run(work: Callable[[], Any], *, seconds: float = MOST_SECONDS, on_stop: Callable[[int], None] | None = None) -> Any:
    """Run a function in a forked process, in a session of its own.

    Args:
        work: its answer is pickled; a `SystemExit` is answered as its code.
        seconds: after which the process is killed.
        on_stop: called once with the process's id when it stops itself with SIGSTOP; the whole session is killed afterwards.

    Returns:
        The answer; "killed" if a signal ended the process, "hang" if time did, or the text of a traceback.
    """
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        os.setsid()
        _silence()
        with os.fdopen(theirs, "wb") as pipe:
            pickle.dump(_answer(work), pipe)
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        stopped = on_stop is not None and _waits_for_stop(pid, pipe.fileno(), seconds)
        if stopped and on_stop is not None:
            on_stop(pid)
            _kill(pid)
        is_in_time = stopped or bool(select.select([pipe], [], [], seconds)[0])
        if not is_in_time:
            _kill(pid)
        data = pipe.read()
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
    _kill(pid)  # whatever else was in the session
    return "hang" if not is_in_time else pickle.loads(data) if data else "killed"


def stream(work: Callable[[int], Any], numbers: Iterator[int], *, seconds: float = MOST_SECONDS) -> Iterator[tuple[int, Any]]:
    """Run a function on number after number in one forked process with bounded memory, and in another after it has died.

    Yields:
        Number and answer; "killed", "hang" or the text of a traceback, as `run`.
    """
    left = list(numbers)
    while left:
        ours, theirs = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(ours)
            os.setsid()
            _silence()
            _bound_memory()
            for number in left:
                data = pickle.dumps(_answer(lambda number=number: work(number)))
                os.write(theirs, struct.pack("<q", len(data)) + data)
            os._exit(0)
        os.close(theirs)
        while left:
            if not select.select([ours], [], [], seconds)[0]:
                answer = "hang"
            else:
                head = os.read(ours, 8)
                answer = _exactly(ours, struct.unpack("<q", head)[0]) if len(head) == 8 else "killed"
            is_alive = isinstance(answer, bytes)
            yield left.pop(0), pickle.loads(answer) if isinstance(answer, bytes) else answer
            if not is_alive:
                break
        _kill(pid)
        os.waitpid(pid, 0)
        os.close(ours)


def _exactly(descriptor: int, num_bytes: int) -> bytes | str:
    data = b""
    while len(data) < num_bytes:
        part = os.read(descriptor, num_bytes - len(data))
        if not part:
            return "killed"
        data += part
    return data


def _answer(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except SystemExit as stop:
        return stop.code
    except BaseException:
        return traceback.format_exc()


def _silence() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    sys.stdout, sys.stderr = open(os.devnull, "w"), open(os.devnull, "w")  # noqa: SIM115


def _bound_memory() -> None:
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MOST_MEMORY, taken + MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _waits_for_stop(pid: int, pipe: int, seconds: float) -> bool:
    """Wait until a process stops itself or answers."""
    for _ in range(int(seconds * 200)):
        if os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None:
            return True
        if select.select([pipe], [], [], 0.005)[0]:
            return False
    return False


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
