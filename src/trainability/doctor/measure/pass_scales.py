"""By what the gradients of several backward passes are divided before their optimizer steps."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.measure.graph import behind_views
from trainability.doctor.measure.nodes import name_of
from trainability.doctor.measure.statistics import local

_NEAR, _SAME = 0.01, 1e-4  # of a number of passes; of a gradient that something was multiplied to
_FEWEST, _MOST = 2, 8  # steps
_FEWEST_TERMS = 8
_MEAN = 1  # a node's word for reduction="mean"
_QUOTIENTS = ("DivBackward", "MulBackward")


@dataclass(frozen=True, kw_only=True)
class Divisors:
    """What a loss was divided by before its backward pass.

    Attributes:
        factors: the numbers, the last one first; 1/16 as a factor counts as 16. NaN stands for one that is no number, is gone,
            or is on another device: to read it would wait for the device.
        of_a_sum: what they divide is a sum, so that the innermost of them makes it a mean.
        again: number of terms by which a mean of them is divided once more; None where it is not.
        whole: what a mean that nothing divides ends in, "NllLossBackward"; "" of any other loss, and of one whose graph is
            kept for another pass.
    """

    factors: tuple[float, ...] = ()
    of_a_sum: bool = False
    again: int | None = None
    whole: str = ""

    @property
    def is_divided(self) -> bool:
        """Whether any of them is another number than 1, as accumulation makes of a loss a part of a mean."""
        return any(factor != 1 for factor in self.factors)

    @property
    def of_a_mean(self) -> tuple[float, ...]:
        """The same without the divisor of a sum."""
        return self.factors[:-1] if self.of_a_sum else self.factors


def divisors_of(loss: Tensor, given: tuple = (), named: Mapping[str, Any] | None = None) -> Divisors:
    """Read the end of a loss's graph. To be asked before the backward pass, which frees the numbers.

    Args:
        loss: that goes backward.
        given: what `torch.autograd.backward` is given beside it.
        named: likewise, by name.
    """
    keeps_graph = bool((named or {}).get("retain_graph", given[1] if len(given) > 1 else False))
    node = behind_views(loss.grad_fn) if loss.grad_fn is not None else None
    found: list[float] = []
    while node is not None and name_of(node) in _QUOTIENTS:
        try:
            by = node._saved_other
        except (AttributeError, RuntimeError):  # freed by an earlier pass
            return Divisors(factors=(*found, math.nan))
        is_number = isinstance(by, Tensor) and by.device.type == "cpu" and by.numel() == 1
        factor = float(by.item()) if is_number else math.nan
        found.append(1.0 / factor if name_of(node) == "MulBackward" and factor else factor)
        above = node.next_functions[0][0]
        node = None if above is None else behind_views(above)
    large = [factor for factor in found if factor >= _FEWEST_TERMS]
    terms = _terms_of(node) if large else set()
    again = next((round(factor) for factor in large if factor in terms), None)
    of_a_sum = node is not None and name_of(node) == "SumBackward"
    whole = name_of(node) if not keeps_graph and not found and node is not None and _is_mean(node) else ""
    return Divisors(factors=tuple(found), of_a_sum=of_a_sum, again=again, whole=whole)


def _is_mean(node: Any) -> bool:
    return name_of(node) == "MeanBackward" or getattr(node, "_saved_reduction", None) == _MEAN


def _terms_of(node: Any) -> set[float]:
    """Numbers of terms that a mean may be said to be over: all, one for each example, or each place, or each target in use."""
    shape = tuple(getattr(node, "_saved_self_sym_sizes", ()) or ()) if name_of(node) == "MeanBackward" else ()
    try:
        if getattr(node, "_saved_reduction", 0) == _MEAN:
            shape = tuple(node._saved_target.shape)
            if name_of(node).startswith("NllLoss") and node._saved_target.device.type == "cpu":
                used = int((node._saved_target != node._saved_ignore_index).sum())
                return {float(used), *map(float, itertools.accumulate(shape, operator.mul))}
    except RuntimeError:  # freed by an earlier pass
        return set()
    return set(map(float, itertools.accumulate(shape, operator.mul)))


class PassScales:
    """Follows by how much losses are divided before backward, and gradients between the last pass and the step.

    Args:
        optimizers: that are known already.
    """

    def __init__(self, optimizers: Iterable[torch.optim.Optimizer] = ()) -> None:
        self._optimizers: list[torch.optim.Optimizer] = list(optimizers)
        self._gauges: dict[int, tuple[Tensor, Tensor]] = {}  # by optimizer: a parameter, and its gradient after the last pass
        self._passes: dict[int, list[Divisors]] = {}  # by optimizer, since its last step
        self._seen: dict[int, list[int | None]] = {}  # by optimizer, for each step
        self._terms: dict[int, list[int | None]] = {}
        self._undivided: dict[int, list[int | None]] = {}
        self._added: dict[
            int, tuple[Tensor, int, bool]
        ] = {}  # by optimizer: that gradient, its version, whether passes add to it

    def undivided(self, optimizer: torch.optim.Optimizer | None = None) -> int | None:
        """Backward passes for each step, whose losses are means that nothing divides, and whose gradients are added.

        Args:
            optimizer: as for `found`.

        Returns:
            None where there are fewer than two, and where it is not so at each of the first steps whose gradients are finite,
            two at least.
        """
        for key, seen in self._undivided.items():
            is_asked = optimizer is None or key == id(optimizer)
            if is_asked and len(seen) >= _FEWEST and seen[0] is not None and set(seen) == {seen[0]}:
                return seen[0]
        return None

    def found(self, optimizer: torch.optim.Optimizer | None = None) -> int | None:
        """Backward passes for each step, where losses and gradients are both divided by that number, or losses twice.

        Args:
            optimizer: which one; None takes the first for which it is so.

        Returns:
            None where it is not so at each of the first steps whose gradients are finite, two at least.
        """
        for key, seen in self._seen.items():
            is_asked = optimizer is None or key == id(optimizer)
            if is_asked and len(seen) >= _FEWEST and seen[0] is not None and set(seen) == {seen[0]}:
                return seen[0]
        return None

    def mean_again(self, optimizer: torch.optim.Optimizer | None = None) -> int | None:
        """Terms of a mean that is divided by their number once more, at the last of the first steps.

        Args:
            optimizer: as for `found`.

        Returns:
            None where it is not so at each of them.
        """
        for key, terms in self._terms.items():
            if (optimizer is None or key == id(optimizer)) and len(terms) >= _FEWEST and None not in terms:
                return terms[-1]
        return None

    @property
    def is_over(self) -> bool:
        """Whether enough steps were seen."""
        return any(len(terms) >= _MOST for terms in self._terms.values())

    def made(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer was made that is to be followed, too."""
        self._optimizers.append(optimizer)

    def passed(self, divisors: Divisors) -> None:
        """A backward pass is over, whose loss was divided by these numbers."""
        if self.is_over:
            return
        for each in self._optimizers:
            given = [p for group in each.param_groups for p in group["params"] if p.grad is not None]
            strided = [p for p in given if p.grad.layout == torch.strided and p.numel() > 1]
            if strided:
                gauge = min(strided, key=Tensor.numel)
                self._gauges[id(each)] = gauge, local(gauge.grad).detach().clone()
                self._passes.setdefault(id(each), []).append(divisors)
                self._add(id(each), gauge.grad)

    def _add(self, key: int, gradient: Tensor) -> None:
        """Whether this pass added to what the last one left: the same tensor, written to once in between."""
        kept, version, adds = self._added.get(key, (gradient, gradient._version - 1, True))
        is_added = kept is gradient and gradient._version == version + 1
        self._added[key] = gradient, gradient._version, adds and is_added

    def disturbed(self) -> None:
        """The program ran for a look in between, and its gradients were written back."""
        for key, (gradient, _, adds) in self._added.items():
            is_as_left = torch.equal(local(gradient).detach(), self._gauges[key][1])
            self._added[key] = gradient, gradient._version, adds and is_as_left

    def stepping(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer is about to step."""
        passes, kept = self._passes.pop(id(optimizer), []), self._gauges.pop(id(optimizer), None)
        adds = self._added.pop(id(optimizer), (None, 0, False))[2]
        if self.is_over or kept is None or kept[0].grad is None:
            return
        number = len(passes)
        is_whole = number > 1 and adds and len({each.whole for each in passes}) == 1 and passes[0].whole != ""
        times = min((sum(_is(factor, number) for factor in each.of_a_mean) for each in passes), default=0)
        of_terms = passes[0].again if number == 1 else None
        self._terms.setdefault(id(optimizer), []).append(of_terms)
        before, after = kept[1], local(kept[0].grad).detach()
        is_asked = number > 1 and (times > 0 or is_whole)
        if is_asked and not (bool(before.isfinite().all()) and bool(after.isfinite().all())):
            return  # nothing tells by what infinity was divided; the steps before it do
        by = _quotient(before, after) if is_asked else None
        is_again = by is not None and times + _is(by, number) > 1
        self._seen.setdefault(id(optimizer), []).append(number if is_again else None)
        is_untouched = is_whole and by is not None and _is(by, 1)
        self._undivided.setdefault(id(optimizer), []).append(number if is_untouched else None)


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
