"""What is recorded of a script, to be computed again when it has ended: a step of each optimizer, or a body of several."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.facts import Facts
from trainability.doctor.joining import completed_facts
from trainability.loops.monitor import Monitor
from trainability.loops.own_body import OwnBody
from trainability.loops.own_chances import OwnChances
from trainability.loops.own_step import OwnStep


class Recordings:
    """Hands the loop's events on to what records.

    Args:
        monitors: by the names of what they watch; none while an optimizer has no monitor.
        batches: the loader that the script trains on now, read in this process; nothing where there is none.
    """

    def __init__(self, monitors: Callable[[], dict[str, Monitor]], batches: Callable[[], Iterable[Any]]) -> None:
        self.step, self.body, self.chances = OwnStep(batches), OwnBody(monitors, batches), OwnChances()

    def begin(self, monitor: Monitor, *, at_start: bool) -> None:
        """A model is watched from now on; see `OwnStep`."""
        self.step.begin(monitor, at_start=at_start)

    def given(self, batch: Any) -> None:
        """A loader has yielded a batch, to be trained on or not."""
        self.step.given(batch)
        self.body.given(batch)

    def backward(self, loss: Tensor, scaler: Any, *, is_turned: bool) -> None:
        """A backward pass is over, from the loss or, if it `is_turned`, from its negative."""
        self.step.backward(loss, is_turned=is_turned)
        self.body.backward(loss, scaler, is_turned=is_turned)

    def clearing(self, owner: Any) -> None:
        """Gradients are about to be cleared."""
        self.body.clearing(owner)

    def stepping(self) -> None:
        """An optimizer begins its step."""
        self.body.stepping()

    def stepped(self, optimizer: torch.optim.Optimizer, monitor: Monitor | None) -> None:
        """A step is over; of optimizers that step inside the backward pass, by hooks, nothing is recorded."""
        if torch._C._current_graph_task_id() != -1:
            return
        self.body.stepped(optimizer)
        self.step.stepped(optimizer, monitor)
        is_free = monitor is not None and not (monitor.awaits_model or self.step.is_recording or self.body.is_recording)
        self.chances.stepped(optimizer, is_free=is_free)

    def end(self) -> None:
        """The script has ended."""
        self.step.end()
        self.body.end()
        self.chances.end()

    def ask(self, monitors: Iterable[Monitor]) -> None:
        """Compute again what was recorded, and tell the monitors; what several models want of each other, the last of them."""
        watched = list(monitors)
        found = [self.step.facts(monitor) for monitor in watched]
        if watched and found[-1] is None:
            found[-1] = self.body.facts()
        for monitor, asked in zip(watched, found, strict=True):
            followed = self.chances.facts(monitor.optimizer)
            monitor.of_step = asked if followed is None else completed_facts(followed, asked or Facts())
