"""Ctrl-C and the scheduler's terminate signal, turned into a question that the loop asks between steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class StopSignal:
    """While entered, remembers the first Ctrl-C or SIGTERM; the second Ctrl-C interrupts at once, as always."""

    def __init__(self) -> None:
        """Start with nothing received."""
        self.received = False
        self._before: dict[int, signal._HANDLER] = {}

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = True

    def __enter__(self) -> StopSignal:
        """Take the signals over; only the main thread may, elsewhere they keep their meaning."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
