"""Trainers of Lightning and Transformers that a script makes: each gets the callback of its library."""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from trainability.loops.saying import as_typed, say


class Trainers:
    """Gives every Trainer its callback, since trainers know their accumulation and metrics.

    Args:
        every: sample layers at every so many optimizer steps.
        most_steps: stop a trainer after so many; `None` never does.
        folder: the run directory; `None` where none is written.

    Attributes:
        callbacks: of the Trainers that were made, in this order.
    """

    def __init__(self, *, every: int, most_steps: int | None, folder: Callable[[], Path | None]) -> None:
        self.callbacks: list[Any] = []
        self._every, self._most_steps, self._folder = every, most_steps, folder
        self._stack = contextlib.ExitStack()

    def adopt(self, module: ModuleType, kind: str) -> None:
        """Give every Trainer that the script makes the callback of its library.

        Args:
            module: that defines `Trainer`.
            kind: "lightning" or "transformers".
        """
        original = module.Trainer.__init__

        @functools.wraps(original)
        def made(trainer: Any, *args: Any, **kwargs: Any) -> None:
            original(trainer, *args, **kwargs)
            callback = self._callback(kind)
            if kind == "lightning":
                trainer.callbacks.insert(0, callback)  # checkpoints come last
            else:
                trainer.add_callback(callback)

        module.Trainer.__init__ = made
        self._stack.callback(setattr, module.Trainer, "__init__", original)

    def release(self) -> None:
        """Trainers that are made from now on get no callback."""
        self._stack.close()

    @property
    def are_at_work(self) -> bool:
        """Whether one of them is training."""
        return any(callback.watching.is_on for callback in self.callbacks)

    def _callback(self, kind: str) -> Any:
        name = {"lightning": "LightningMonitor", "transformers": "TransformersMonitor"}[kind]
        # By name: this room is below the integrations, which are imported where their library is.
        integration = importlib.import_module(f"trainability.integrations.{kind}")
        run = self._folder()
        if run is not None and self.callbacks:
            run = run.with_name(f"{run.name}-{len(self.callbacks) + 1}")
        callback = getattr(integration, name)(every=self._every, run=run)
        callback.watching.most_steps, callback.watching.keeps_empty = self._most_steps, False
        self.callbacks.append(callback)
        say(f"watching the Trainer by {name}" + (f", {as_typed(run)}" if run is not None else ""))
        return callback
