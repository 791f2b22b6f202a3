"""By what the gradients of several backward passes are divided before their optimizer steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.measure.nodes import name_of
from trainability.doctor.measure.statistics import local

_NEAR, _SAME = 0.01, 1e-4  # of a number of passes; of a gradient that something was multiplied to
_FEWEST, _MOST = 2, 8  # steps


def factors_of(loss: Tensor) -> tuple[float, ...]:
    """The numbers that a loss was divided by last, the last one first; a factor of 1/16 counts as 16.

    To be asked before the backward pass, which frees them. NaN stands for one that is no number, is gone, or is on another
    device: to read it would wait for the device.
    """
    found: list[float] = []
    for node in _quotients(loss):
        try:
            by = node._saved_other
        except (AttributeError, RuntimeError):  # freed by an earlier pass
            return (*found, math.nan)
        is_number = isinstance(by, Tensor) and by.device.type == "cpu" and by.numel() == 1
        factor = float(by.item()) if is_number else math.nan
        found.append(1.0 / factor if name_of(node) == "MulBackward" and factor else factor)
    return tuple(found)


def _is_of_a_sum(loss: Tensor) -> bool:
    """Whether what such numbers divide is a sum: the innermost of them makes it a mean. To be asked at any time."""
    quotients = list(_quotients(loss))
    above = quotients[-1].next_functions[0][0] if quotients else None
    return above is not None and name_of(above) == "SumBackward"


def _quotients(loss: Tensor) -> Iterator[Any]:
    node: Any = loss.grad_fn
    while node is not None and name_of(node) in ("DivBackward", "MulBackward"):
        yield node
        node = node.next_functions[0][0]


class PassScales:
    """Follows by how much losses are divided before backward, and gradients between the last pass and the step.

    Args:
        optimizers: that are known already.
    """

    def __init__(self, optimizers: Iterable[torch.optim.Optimizer] = ()) -> None:
        self._optimizers: list[torch.optim.Optimizer] = list(optimizers)
        self._gauges: dict[int, tuple[Tensor, Tensor]] = {}  # by optimizer: a parameter, and its gradient after the last pass
        self._passes: dict[int, list[tuple[float, ...]]] = {}  # by optimizer, since its last step
        self._seen: dict[int, list[int | None]] = {}  # by optimizer, for each step

    def found(self, optimizer: torch.optim.Optimizer | None = None) -> int | None:
        """Backward passes for each step, where losses and gradients are both divided by that number, or losses twice.

        Args:
            optimizer: which one; None takes the first for which it is so.

        Returns:
            None where it is not so at each of the first steps, two at least.
        """
        for key, seen in self._seen.items():
            is_asked = optimizer is None or key == id(optimizer)
            if is_asked and len(seen) >= _FEWEST and seen[0] is not None and set(seen) == {seen[0]}:
                return seen[0]
        return None

    @property
    def is_over(self) -> bool:
        """Whether enough steps were seen."""
        return any(len(seen) >= _MOST for seen in self._seen.values())

    def made(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer was made that is to be followed, too."""
        self._optimizers.append(optimizer)

    def passed(self, loss: Tensor, factors: Sequence[float]) -> None:
        """A backward pass is over.

        Args:
            loss: with its graph.
            factors: what `factors_of` gave before.
        """
        if self.is_over:
            return
        factors = factors[:-1] if _is_of_a_sum(loss) else factors
        for each in self._optimizers:
            given = [p for group in each.param_groups for p in group["params"] if p.grad is not None]
            strided = [p for p in given if p.grad.layout == torch.strided and p.numel() > 1]
            if strided:
                gauge = min(strided, key=Tensor.numel)
                self._gauges[id(each)] = gauge, local(gauge.grad).detach().clone()
                self._passes.setdefault(id(each), []).append(tuple(factors))

    def stepping(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer is about to step."""
        passes, kept = self._passes.pop(id(optimizer), []), self._gauges.pop(id(optimizer), None)
        if self.is_over or kept is None or kept[0].grad is None:
            return
        number = len(passes)
        times = min((sum(_is(factor, number) for factor in factors) for factors in passes), default=0)
        by = _quotient(kept[1], local(kept[0].grad).detach()) if number > 1 and times else None
        is_again = by is not None and times + _is(by, number) > 1
        self._seen.setdefault(id(optimizer), []).append(number if is_again else None)


def _is(factor: float, number: int) -> bool:
    return abs(factor / number - 1) < _NEAR


def _quotient(before: Tensor, after: Tensor) -> float | None:
    """By what number a gradient was divided; None where it was not."""
    if before.shape != after.shape:
        return None
    before, after = before.double().flatten(), after.double().flatten()
    ratio = float(after @ before) / max(float(before @ before), 1e-300)
    rest = float(torch.linalg.vector_norm(after - ratio * before))
    is_multiple = ratio > 0 and rest <= _SAME * float(torch.linalg.vector_norm(after))
    return 1.0 / ratio if is_multiple else None
