"""Steps that an optimizer makes a second time, on the very gradients of its last one."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.weak import TensorWeakRef

_FEWEST, _SHARE = 3, 0.25  # steps that were made again; of all
_MOST_STEPS = 64  # that are looked at

_Gradients = list[tuple[TensorWeakRef, int]]


class RepeatedSteps:
    """Compares what an optimizer is about to step on with what it stepped on last: objects, and how often each was written.

    A backward pass writes into gradients or makes new ones, and so do `zero_grad`, clipping and a loss scaler.
    """

    def __init__(self) -> None:
        self._last: dict[int, _Gradients] = {}  # by id of the optimizer
        self._num_steps = self._num_repeated = 0
        self._by_scaler = False

    def stepping(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer is about to step."""
        if self._num_steps < _MOST_STEPS:
            self._num_steps += 1
            found = _gradients(optimizer)
            self._num_repeated += _are_same(found, self._last.get(id(optimizer), []))
            self._last[id(optimizer)] = found
            if self._num_steps == _MOST_STEPS:
                self._last = {}

    def scaled(self, optimizer: Any) -> None:
        """A loss scaler has stepped an optimizer, or has left the step out because a gradient is not finite."""
        self._by_scaler = True
        if self._num_steps < _MOST_STEPS and isinstance(optimizer, torch.optim.Optimizer):
            self._last[id(optimizer)] = _gradients(optimizer)

    def found(self) -> tuple[int, int, bool] | None:
        """How many of how many steps were made again, and whether a loss scaler steps, too; None where it is hardly any."""
        fewest = 1 if self._by_scaler else _FEWEST  # the first such step may be the last one that is finite
        if self._num_repeated < max(fewest, _SHARE * self._num_steps):
            return None
        return self._num_repeated, self._num_steps, self._by_scaler


def _gradients(optimizer: torch.optim.Optimizer) -> _Gradients:
    held = (p.grad for group in optimizer.param_groups for p in group["params"])
    return [(TensorWeakRef(gradient), gradient._version) for gradient in held if gradient is not None]


def _are_same(now: _Gradients, before: _Gradients) -> bool:
    if not now or len(now) != len(before):
        return False
    return all(a() is b() and written == was for (a, written), (b, was) in zip(now, before, strict=True))
