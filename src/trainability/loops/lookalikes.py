"""Networks like one that a script has been training already: copies of an inner loop among them are gone after a few steps."""

from __future__ import annotations

import weakref

import torch
from torch import nn

from trainability.loops.events import parameters_of

LONG_LIVED = 20  # steps; an inner loop of meta-learning makes one to ten on each of its copies

Kind = tuple[type[nn.Module], tuple[torch.Size, ...]]


class Lookalikes:
    """Holds back what is like a network that has stepped before its optimizer was made, until it has made `LONG_LIVED` steps.

    Critics and members of an ensemble whose optimizers are made together are not held back. Of what is held back nothing is
    kept alive.

    Attributes:
        num_held: networks that were held back, whatever became of them.
    """

    def __init__(self) -> None:
        self.num_held = 0
        self._num_steps = 0  # of all optimizers
        self._made: weakref.WeakKeyDictionary[torch.optim.Optimizer, int] = weakref.WeakKeyDictionary()  # steps before it
        self._kinds: weakref.WeakKeyDictionary[torch.optim.Optimizer, Kind] = weakref.WeakKeyDictionary()  # until they step
        self._first: dict[Kind, int] = {}  # steps before the first one of a kind
        self._trained: set[int] = set()  # parameters that are watched: another optimizer of theirs is no copy's
        self._steps: weakref.WeakKeyDictionary[torch.optim.Optimizer, int] = weakref.WeakKeyDictionary()  # those held back
        self._held: weakref.WeakKeyDictionary[torch.optim.Optimizer, _Parts] = weakref.WeakKeyDictionary()
        self._released = 0

    @property
    def num_short(self) -> int:
        """Networks that were never watched."""
        return self.num_held - self._released

    def made(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer was made."""
        self._made[optimizer] = self._num_steps

    def watched(self, model: nn.Module, optimizer: torch.optim.Optimizer, *, first_step: int) -> None:
        """A network is watched from a step of its optimizer on."""
        if (kind := _kind_of(model)) is not None:
            self._kinds[optimizer] = kind
            if first_step > 1:
                self._first.setdefault(kind, self._num_steps - 1)
            self._trained |= {id(p) for p in model.parameters()}

    def holds_back(self, model: nn.Module, optimizer: torch.optim.Optimizer, *, first_step: int) -> bool:
        """Whether a network is held back, since one like it had stepped before its optimizer was made."""
        kind = _kind_of(model)
        first = self._first.get(kind) if kind is not None else None
        if first is None or first >= self._made.get(optimizer, 0):
            return False
        if any(id(p) in self._trained for p in parameters_of(optimizer)):
            return False
        self._held[optimizer], self._steps[optimizer] = _Parts(model), first_step - 1
        self.num_held += 1
        return True

    def stepped(self, optimizer: torch.optim.Optimizer) -> int | None:
        """Count a step.

        Returns:
            Steps of what is held back; None of another.
        """
        if (kind := self._kinds.pop(optimizer, None)) is not None:
            self._first.setdefault(kind, self._num_steps)
        self._num_steps += 1
        if optimizer not in self._steps:
            return None
        self._steps[optimizer] += 1
        return self._steps[optimizer]

    def release(self, optimizer: torch.optim.Optimizer) -> nn.Module | None:
        """What was held back, which has made enough steps; None if it is gone."""
        del self._steps[optimizer]
        model = self._held.pop(optimizer).model()
        self._released += model is not None
        return model


class _Parts:
    """A network, or the parts of one that was put together for several that share an optimizer; none is kept alive."""

    def __init__(self, model: nn.Module) -> None:
        self._are_several = type(model) is nn.ModuleList
        self._parts = [weakref.ref(part) for part in (model.children() if self._are_several else (model,))]

    def model(self) -> nn.Module | None:
        """The network, put together again; None if any of it is gone."""
        parts = [part() for part in self._parts]
        found = [part for part in parts if part is not None]
        if len(found) < len(parts) or not found:
            return None
        return nn.ModuleList(found) if self._are_several else found[0]


def _kind_of(model: nn.Module) -> Kind | None:
    parameters = list(model.parameters())
    return None if any(map(nn.parameter.is_lazy, parameters)) else (type(model), tuple(p.shape for p in parameters))
