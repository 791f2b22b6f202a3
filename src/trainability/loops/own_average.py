"""Averages of the weights that a watched loop moves, wherever the program holds them: followed over its first steps."""

from __future__ import annotations

import contextlib
import gc
from typing import Any

import torch
from torch import nn

from trainability.doctor.measure.averages import Averages
from trainability.doctor.measure.graph import held_by_any_optimizer
from trainability.doctor.measure.living import living
from trainability.doctor.measure.statistics import has_values
from trainability.doctor.measure.twin_weights import twin_weights
from trainability.doctor.rehearsed import SlowAverage
from trainability.loops.naming import variable_name

_MOST_STRAYS, _FEW = 64, 4


class OwnAverage:
    """Follows what may be an average from an optimizer's first step on, between its steps.

    Args:
        model: whose weights are trained.
        optimizer: of them, before its first step.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._model, self._averages, self._count = model, Averages((), lambda: True), 0
        self._handle: Any = optimizer.register_step_pre_hook(lambda *_: self._stepping())

    def end(self) -> SlowAverage | None:
        """The loop has ended; returns what it was seen to hold."""
        self._handle.remove()
        found = None
        with contextlib.suppress(Exception), torch.no_grad():
            found = self._averages.of_run(self._count)
        self._averages.close()
        return found

    def _stepping(self) -> None:
        with contextlib.suppress(Exception), torch.no_grad():  # whatever is odd about weights is the program's own affair
            if self._count == 0:
                self._averages = _averages_of(self._model)
            else:
                self._averages.end()
            self._count += 1
            self._averages.begin(self._count)


def _averages_of(model: nn.Module) -> Averages:
    managed = held_by_any_optimizer()
    strays = _strays(model, managed)
    if len(strays) > _FEW:  # what earlier runs left behind in cycles stays until it is collected
        del strays
        gc.collect()
        strays = _strays(model, managed)
    pairs = twin_weights([("", model)], managed, strays=strays)
    pairs = [pair for pair in pairs if all(map(has_values, (*pair.averaged(), *pair.trained)))]
    return Averages(pairs, lambda: True)


def _strays(model: nn.Module, managed: set[int]) -> list[tuple[str, Any]]:
    """Modules of which no optimizer holds a parameter, and dicts of tensors, outside the model."""
    inside = {id(part) for part in model.modules()}
    forms = {_shapes(part) for part in model.modules()}
    names = {name for name, _ in model.named_parameters()}
    strays: list[Any] = []
    for item in living(nn.Module):
        with contextlib.suppress(Exception):  # one whose __init__ failed
            own = [id(p) for p in nn.Module.parameters(item)]
            is_other = id(item) not in inside and not type(item).__module__.startswith("torch.optim")
            if own and is_other and managed.isdisjoint(own) and _shapes(item) in forms:
                strays.append(item)
    strays += [item for item in gc.get_objects() if type(item) is dict and len(names) <= len(item) and names <= item.keys()]
    return [(variable_name(item) or f"a {type(item).__name__}", item) for item in strays[:_MOST_STRAYS]]


def _shapes(module: nn.Module) -> tuple[torch.Size, ...]:
    return tuple(p.shape for p in nn.Module.parameters(module) if not nn.parameter.is_lazy(p))
