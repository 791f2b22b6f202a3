"""What the callbacks of all trainers share: monitors, one for each optimizer, entered and left together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from trainability.doctor.diagnosis import Diagnosis
from trainability.doctor.finding import SEVERITIES
from trainability.loops.attaching import Attached
from trainability.loops.following import Follower, parts_of
from trainability.loops.metrics import validation_numbers
from trainability.loops.monitor import Monitor
from trainability.loops.recorder import is_main_process
from trainability.loops.saying import folder_for_run, say

StopOn = Literal["doomed"]


class Watching:
    """Monitors of a trainer's optimizers.

    Args:
        every: see `Monitor`.
        stop_on: "doomed" asks the trainer to stop once the verdict is "dead" or "unstable"; `None` never does.
        settings: more arguments of `Monitor`: run, config, sinks, before, num_classes. With several optimizers each has a
            directory below `run`.

    Attributes:
        is_on: whether a training is under way.
        most_steps: ask the trainer to stop after so many optimizer steps; `None` never does.
        keeps_empty: see `Attached.leave`.

    Raises:
        ValueError: `stop_on` is something else.
    """

    def __init__(self, every: int, stop_on: StopOn | None, settings: Mapping[str, Any]) -> None:
        if stop_on not in (None, "doomed"):
            raise ValueError(f"stop_on is {stop_on!r}; expected 'doomed' or None")
        self._attached = Attached(is_eager=False)
        self._every, self._stop_on, self._settings = every, stop_on, settings
        self.is_on = False
        self.most_steps: int | None = None
        self.keeps_empty = True
        self._handles: list[Any] = []

    def begin(
        self, model: nn.Module, optimizers: Iterable[torch.optim.Optimizer], *, is_eager: bool = False, **facts: Any
    ) -> None:
        """Attach a monitor to each optimizer; what an earlier fit showed is forgotten.

        Args:
            model: what the trainer trains.
            optimizers: of it.
            is_eager: see `Follower`.
            facts: more arguments of `Monitor`.
        """
        given = list(optimizers)
        self._attached = Attached(is_eager=is_eager)
        settings = {**facts, **{key: value for key, value in self._settings.items() if value is not None}}
        if len(given) > 1 and "run" in settings and is_main_process():  # one for each below it
            settings["run"] = folder_for_run(Path(settings["run"]), holds_several=True)
        for (name, part), optimizer in zip(parts_of(model, given), given, strict=True):
            self._attached.attach(name, part, optimizer, self._every, is_one_of_several=len(given) > 1, **settings)
            if len(given) > 1:
                self._handles.append(optimizer.register_step_post_hook(lambda stepped, *_: self.follower.stepped(stepped)))
        self.is_on = True

    def end(self, error: BaseException | None = None) -> None:
        """Detach; says the verdict."""
        if not self.is_on:
            return
        self.is_on = False
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        if self._has_made_most_steps:
            say(f"the Trainer was asked to stop after {self.most_steps:,} steps")
        self._attached.leave(error, keeps_empty=self.keeps_empty)

    @property
    def monitors(self) -> dict[str, Monitor]:
        """By part of the model; "model" where there is one optimizer."""
        return self._attached.monitors

    @property
    def follower(self) -> Follower:
        """Tells the monitors what the trainer does."""
        return self._attached.follower

    def begin_epoch(self, epoch: int) -> None:
        """An epoch begins, counted from 1."""
        for monitor in self.monitors.values():
            monitor.begin_epoch(epoch)

    def evaluated(self, metrics: Mapping[str, Any], *, model_training: bool | None = None) -> None:
        """The trainer evaluated: what its metrics say of loss and error on the validation set."""
        numbers: dict[str, Any] = dict(validation_numbers(metrics))
        if numbers:
            for monitor in self.monitors.values():
                monitor.record_evaluation("validation", model_training=model_training, **numbers)

    @property
    def must_stop(self) -> bool:
        """Whether the trainer is to be asked to stop."""
        if self._has_made_most_steps:
            return True
        return self._stop_on == "doomed" and any(monitor.doomed is not None for monitor in self.monitors.values())

    @property
    def _has_made_most_steps(self) -> bool:
        return self.most_steps is not None and any(m.num_steps >= self.most_steps for m in self.monitors.values())

    @property
    def diagnosis(self) -> Diagnosis:
        """What is known so far; with several optimizers, of the part that fares worst.

        Raises:
            ValueError: nothing has been trained yet.
        """
        if not self.monitors:
            raise ValueError("there is no diagnosis yet: nothing has been trained with this callback")
        return max((monitor.diagnose() for monitor in self.monitors.values()), key=_badness)


def _badness(diagnosis: Diagnosis) -> int:
    return max((SEVERITIES.index(finding.severity) for finding in diagnosis.findings), default=-1)
