"""Optimizers that a script makes again and again for the same parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import torch

from trainability.doctor.measure.remade_optimizers import keeps_state
from trainability.loops.events import parameters_of
from trainability.loops.monitor import Monitor

_MOST_WATCHED = 2  # of the same parameters: a head before the whole, a second stage


class Remade:
    """Holds back optimizers of parameters of which two are watched already, and counts them."""

    def __init__(self) -> None:
        self._num_held: Counter[frozenset[int]] = Counter()  # by ids of the parameters, which monitors keep alive

    def holds_back(self, optimizer: torch.optim.Optimizer, monitors: Iterable[Monitor]) -> bool:
        """Whether an optimizer is not watched; the monitor of its parameters with most steps is told how many were made."""
        own = frozenset(id(p) for p in parameters_of(optimizer))
        alike = [m for m in monitors if m.optimizer is not None and own == {id(p) for p in parameters_of(m.optimizer)}]
        if len(alike) < _MOST_WATCHED:
            return False
        self._num_held[own] += 1
        keeps = any(keeps_state(m.optimizer) for m in alike if m.optimizer is not None)
        teller = max(alike, key=lambda m: m.num_steps)
        teller.of_script["remade"] = (len(alike) + self._num_held[own], keeps)
        return True
