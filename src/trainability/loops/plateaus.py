"""What a script gives its `ReduceLROnPlateau`, kept beside what that makes of the rate."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from torch.optim.lr_scheduler import ReduceLROnPlateau

from trainability.doctor.measure.replaced import replaced
from trainability.doctor.plateau_calls import PlateauCall, PlateauCalls
from trainability.loops.events import Guard
from trainability.loops.monitor import Monitor

_MOST_CALLS = 500  # of one scheduler


class Plateaus:
    """Tells the monitor of an optimizer what its scheduler was given; of several schedulers, the one that was stepped first.

    Args:
        monitors: those of the loop, when asked.
    """

    def __init__(self, monitors: Callable[[], list[Monitor]]) -> None:
        self._monitors = monitors
        self._calls: weakref.WeakKeyDictionary[Any, list[PlateauCall]] = weakref.WeakKeyDictionary()
        self._first: weakref.WeakKeyDictionary[Any, weakref.ref[Any]] = weakref.WeakKeyDictionary()  # by optimizer
        self._tell = Guard()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Follow every scheduler while the block runs."""

        def step(original: Callable[..., Any], scheduler: Any, *args: Any, **kwargs: Any) -> Any:
            before = [group["lr"] for group in scheduler.optimizer.param_groups]
            result = original(scheduler, *args, **kwargs)
            metric = args[0] if args else kwargs.get("metrics")
            self._tell(lambda: self._stepped(scheduler, metric, max(map(float, before))))
            return result

        with replaced(ReduceLROnPlateau, "step", step):
            yield

    def _stepped(self, scheduler: Any, metric: Any, before: float) -> None:
        optimizer = scheduler.optimizer
        monitor = next((monitor for monitor in self._monitors() if monitor.optimizer is optimizer), None)
        calls = self._calls.setdefault(scheduler, [])
        first = self._first.setdefault(optimizer, weakref.ref(scheduler))
        if monitor is None or first() is not scheduler or len(calls) == _MOST_CALLS:
            return
        after = max(float(group["lr"]) for group in optimizer.param_groups)
        calls.append(PlateauCall(step=monitor.num_steps, value=float(metric), before=before, after=after))
        monitor.plateau = PlateauCalls(mode=scheduler.mode, calls=tuple(calls))
