"""Steps that an optimizer makes a second time, on the very gradients of its last one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import TensorWeakRef

from trainability.doctor.measure.statistics import local

_FEWEST, _SHARE = 3, 0.25  # steps that were made again; of all
_MOST_STEPS = 64  # that are looked at
_MOST_SAMPLED, _MOST_NUMBERS = 8, 64  # gradients, and numbers of each, that are compared by value


@dataclass(frozen=True)
class _Gradients:
    """What an optimizer steps on: each gradient as an object, how often it was written, and some numbers of some of them.

    What is written through `.data` or by a CUDA graph changes numbers without being counted.
    """

    objects: list[tuple[TensorWeakRef, int]]
    numbers: list[Tensor]

    def are(self, other: _Gradients) -> bool:
        """Whether these are the same, and not all zero."""
        if not self.objects or len(self.objects) != len(other.objects):
            return False
        pairs = zip(self.objects, other.objects, strict=True)
        if not all(a() is b() and written == was for (a, written), (b, was) in pairs):
            return False
        return all(map(torch.equal, self.numbers, other.numbers)) and any(bool(x.any()) for x in self.numbers)


class RepeatedSteps:
    """Compares what an optimizer is about to step on with what it stepped on last.

    A backward pass writes into gradients or makes new ones, and so do `zero_grad`, clipping and a loss scaler.
    """

    def __init__(self) -> None:
        self._last: dict[int, _Gradients] = {}  # by id of the optimizer
        self._num_steps = self._num_repeated = 0
        self._by_scaler = False
        self._depth: Counter[int] = Counter()  # steps of an optimizer inside each other, as of one that calls its class's own

    def stepping(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer is about to step."""
        self._depth[id(optimizer)] += 1
        if self._num_steps < _MOST_STEPS and self._depth[id(optimizer)] == 1:
            self._num_steps += 1
            found = _gradients(optimizer)
            self._num_repeated += id(optimizer) in self._last and found.are(self._last[id(optimizer)])
            self._last[id(optimizer)] = found
            if self._num_steps == _MOST_STEPS:
                self._last = {}

    def stepped(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer has stepped."""
        self._depth[id(optimizer)] = max(self._depth[id(optimizer)] - 1, 0)

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
    held = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    kept = [gradient for gradient in held if not gradient.is_inference()]
    dense = [local(gradient) for gradient in kept if gradient.layout == torch.strided]
    some = dense[:: max(len(dense) // _MOST_SAMPLED, 1)][:_MOST_SAMPLED]
    numbers = [gradient.detach().flatten()[:_MOST_NUMBERS].nan_to_num(nan=1.0).clone() for gradient in some]
    return _Gradients([(TensorWeakRef(gradient), gradient._version) for gradient in kept], numbers)
