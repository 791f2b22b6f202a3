"""One body of a script whose optimizers take turns, recorded, to be asked at the end what models want of each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.facts import Facts
from trainability.doctor.measure.copies import copied
from trainability.doctor.measure.recorded_body import KeptBody, facts_of_kept_body
from trainability.doctor.measure.recorded_step import recorded_step
from trainability.doctor.measure.step_tape import Event, OpenTape, StepTape
from trainability.doctor.measure.whole_step import Parts
from trainability.loops.monitor import Monitor

_MOST_TRIES = 8  # bodies that turn out not to be known as a function
_MOST_WEIGHTS = 1 << 24  # of all models: they are copied


class OwnBody:
    """Records what is called from one batch, or from the last of the turns, until each optimizer has stepped once more.

    Args:
        monitors: of all optimizers, by the names of what they train.
        batches: the loader that the script trains on now, read in this process; nothing where there is none.
    """

    def __init__(self, monitors: Callable[[], dict[str, Monitor]], batches: Callable[[], Iterable[Any]]) -> None:
        self._monitors, self._batches = monitors, batches
        self._open = OpenTape()
        self._models: dict[str, nn.Module] = {}
        self._optimizers: dict[str, torch.optim.Optimizer] = {}
        self._copies: tuple[dict[str, nn.Module], dict[str, torch.optim.Optimizer]] | None = None
        self._losses: list[Tensor] = []
        self._stepped: set[str] = set()
        self._tries = 0
        self._kept: KeptBody | None = None
        self._read_from: Iterable[Any] = ()

    def given(self, batch: Any) -> None:
        """A loader has yielded a batch, to be trained on or not."""
        if self._open.tape is None:
            return
        if not torch.is_grad_enabled():
            self._drop()
            return
        if self._open.tape.has_called:  # the body begins with its batch
            self._drop()
            self._try(self._begin)
        if self._open.tape is not None:
            self._open.tape.take(batch)

    def backward(self, loss: Tensor, scaler: Any, *, is_turned: bool) -> None:
        """A backward pass is over; what it was scaled or turned by is not recorded."""
        if self._open.tape is None:
            return
        if scaler is not None or is_turned:
            self._drop()
            return
        self._losses.append(loss)
        self._open.tape.happened(Event(kind="backward", loss=loss))

    def clearing(self, owner: Any) -> None:
        """Gradients are about to be cleared."""
        name = self._name_of(owner)
        if self._open.tape is not None and name is not None:
            self._open.tape.happened(Event(kind="clear", owner=name))

    def stepping(self) -> None:
        """An optimizer begins its step."""
        if self._open.tape is not None:
            self._open.tape.is_paused = True

    def stepped(self, optimizer: torch.optim.Optimizer) -> None:
        """A step is over."""
        if self._kept is not None or self._tries > _MOST_TRIES:
            return
        if not self._optimizers:
            self._find()
        name = self._name_of(optimizer)
        if name is None:
            self._drop()
            return
        if self._open.tape is not None:
            self._open.tape.is_paused = False
            self._open.tape.happened(Event(kind="step", owner=name))
        self._stepped.add(name)
        if self._stepped == set(self._optimizers):
            if self._open.tape is not None:
                self._try(self._read)
            self._drop()
            if self._kept is None:
                self._try(self._begin)

    @property
    def is_recording(self) -> bool:
        """Whether what follows is recorded."""
        return self._open.tape is not None

    def end(self) -> None:
        """The script has ended."""
        self._drop()

    def facts(self) -> Facts | None:
        """What the body shows; None where none is known, or where it cannot be run again."""
        if self._kept is None:
            return None
        try:
            return facts_of_kept_body(self._kept, self._read_from if self._kept.step.is_of_loader else ())
        except Exception:  # one that cannot be run again tells nothing
            return None

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:  # models that cannot be copied, or a body that cannot be read: nothing is asked of it
            self._tries = _MOST_TRIES + 1

    def _find(self) -> None:
        """Take all optimizers that are watched, where there are several, and each trains a model of its own."""
        found = self._monitors()
        models = {_named(name, place): monitor.model for place, (name, monitor) in enumerate(found.items())}
        are_known = all(not any(nn.parameter.is_lazy(p) for p in model.parameters()) for model in models.values())
        if len({id(model) for model in models.values()}) < 2 or len(models) < len(found) or not are_known:
            return
        if sum(p.numel() for model in models.values() for p in model.parameters()) > _MOST_WEIGHTS:
            self._tries = _MOST_TRIES + 1
            return
        self._models = models
        for name, monitor in zip(models, found.values(), strict=True):
            if monitor.optimizer is not None:
                self._optimizers[f"optimizer {name}"] = monitor.optimizer

    def _begin(self) -> None:
        self._tries += 1
        if self._tries > _MOST_TRIES or any(monitor.awaits_model for monitor in self._monitors().values()):
            return  # which has a mode of its own
        self._copies = copied(self._models, self._optimizers)
        self._losses, self._stepped = [], set()
        self._open.begin(StepTape(Parts(self._models), several=True))

    def _read(self) -> None:
        tape = self._open.tape
        assert tape is not None
        tape.end()
        if not self._losses or self._copies is None:
            return
        step = recorded_step(tape, Parts(self._models), self._losses[-1])
        if step is None:
            return
        losses = tuple(float(loss.detach().sum()) for loss in self._losses)
        models, optimizers = self._copies
        self._kept = KeptBody(step=step, models=models, optimizers=optimizers, losses=losses, random_state=tape.random_state)
        self._read_from = self._batches()

    def _name_of(self, owner: Any) -> str | None:
        return next((name for name, each in (*self._optimizers.items(), *self._models.items()) if each is owner), None)

    def _drop(self) -> None:
        self._open.drop()
        self._losses, self._stepped = [], set()


def _named(name: str, place: int) -> str:
    """A name that a container of modules takes."""
    return name if name.isidentifier() and not hasattr(nn.Module, name) else f"model{place}"
