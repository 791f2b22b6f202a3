"""The state of a run, read from its directory. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from trainability.disk import lock

State = Literal[
    "finished", "stopped", "non-finite", "interrupted", "failed", "running", "killed", "running or killed", "damaged"
]
# Allowed statuses in result.json; the other states are derived from the directory.
_ENDED = ("finished", "stopped", "non-finite", "interrupted", "failed")


def run_state(folder: Path, result: Mapping[str, Any] | None) -> State:
    """Return how a run ended, or whether it is running.

    Args:
        folder: run directory.
        result: contents of its `result.json`; `None` if there is none.

    Returns:
        finished, stopped (by `run.stop-on`), non-finite, interrupted (by Ctrl-C), failed (an error ended the user's own loop);
        without a result: running (a process holds the directory), killed (none does), or "running or killed" if the file
        system has no locks.

    Raises:
        ValueError: the result has another status.
    """
    if lock.is_held(folder):
        return "running"
    if result is None:
        return "running or killed" if lock.is_held(folder, unknown=True) else "killed"
    status = result["status"]
    if status not in _ENDED:
        raise ValueError(f"{folder / 'result.json'}: status is {status!r}; known are {', '.join(_ENDED)}")
    return status


def has_ended(folder: Path, result: Mapping[str, Any] | None) -> bool:
    """Whether the loop has ended. A process that still holds the directory after the result is evaluating or reporting."""
    return result is not None or not lock.is_held(folder, unknown=True)
