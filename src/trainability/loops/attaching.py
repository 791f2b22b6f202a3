"""Monitors of somebody else's optimizers, one for each, entered and left together."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainability.doctor.diagnosis import Diagnosis
from trainability.loops.ending import is_empty
from trainability.loops.following import Follower
from trainability.loops.monitor import Monitor
from trainability.loops.saying import say_finding, say_verdict


class Attached:
    """What is watched, and what the loop tells of it. Findings are said as they arise.

    Args:
        is_eager: see `Follower`.

    Attributes:
        monitors: by part of the model.
        follower: hands them the losses.
    """

    def __init__(self, *, is_eager: bool) -> None:
        self.monitors: dict[str, Monitor] = {}
        self.follower = Follower(is_eager=is_eager)

    @property
    def only(self) -> Monitor | None:
        """The monitor, where there is one only."""
        return next(iter(self.monitors.values())) if len(self.monitors) == 1 else None

    def attach(
        self,
        name: str,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        every: int,
        *,
        is_one_of_several: bool,
        is_sampled_next: bool = False,
        is_stepping: bool = False,
        called_with: Any = None,
        run: str | Path | None = None,
        **settings: Any,
    ) -> tuple[str, Path | None]:
        """Put a monitor around what an optimizer trains.

        Args:
            name: of the part; a number follows where it is taken.
            model: the part.
            optimizer: over its parameters.
            every: see `Monitor`.
            is_one_of_several: each has a directory of its own below `run`, and says its name.
            is_sampled_next: the next step is sampled whatever its number.
            is_stepping: the optimizer is in its step, and runs its closure.
            called_with: arguments of the model, where it is being called.
            run: see `Monitor`.
            settings: more arguments of `Monitor`.

        Returns:
            The name that it got, and its run directory.

        Raises:
            ValueError: the directory cannot be written; nothing is attached.
        """
        key = name if name not in self.monitors else f"{name}-{len(self.monitors) + 1}"
        place = None if run is None else Path(run) / key if is_one_of_several else Path(run)
        heard = functools.partial(say_finding, key if is_one_of_several else "")
        # A watched script's step is recorded with its loader, by `ScriptWatch`.
        monitor = Monitor(model, optimizer, every, run=place, on_finding=heard, asks_step=False, **settings)
        monitor.is_followed = True
        if is_sampled_next:
            monitor.sample_next()
        monitor.__enter__()
        if is_stepping:
            monitor.begin_step()
        if called_with is not None:
            monitor.begin_call(model, called_with)
        self.monitors[key] = self.follower.monitors[id(optimizer)] = monitor
        return key, monitor.run

    def leave(self, error: BaseException | None, *, keeps_empty: bool = True) -> dict[str, Diagnosis]:
        """Take all monitors away and say their verdicts.

        Args:
            error: what ended the loop; `None` if it came to its end.
            keeps_empty: also of what made no step and is nothing to change of; else its run directory is removed.

        Returns:
            The diagnoses, by part.
        """
        found = {}
        for key, monitor in self.monitors.items():
            monitor.__exit__(type(error) if error is not None else None, error, None)
            found[key] = monitor.diagnose()
            if not keeps_empty and is_empty(found[key]):
                monitor.remove_run()
                continue
            say_verdict(key if len(self.monitors) > 1 else "", found[key])
        return found

    def abandon(self) -> None:
        """Take all monitors away, and say nothing."""
        for monitor in self.monitors.values():
            monitor.abandon()
