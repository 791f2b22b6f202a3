"""One number for all examples that takes a loss to zero: equations that a constant solves, goals that a constant meets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import batch_size, to_device
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.randomness import randomness_restored, seed_torch

_GRID = (-100.0, -30.0, -10.0, -3.0, -1.0, -0.3, -0.1, 0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_HALVINGS, _GOLDEN = 45, (math.sqrt(5) - 1) / 2
_NOTHING, _SOMETHING = 1e-6, 1e-3  # of the loss of the model's own answers
_SHRUNK = (0.1, -0.1, 0.01, -0.01)  # times the model's own answers: a loss with a linear part is below zero for one of them
_AWAY = 0.3  # times the number, or of 1 where it is less, from which the loss is to be something again
_MOST_EXAMPLES, _MOST_BATCHES = 1000, 64
_EVEN = 1e-5

Forward = Callable[[Any, Any], Tensor]


def solved_by_constant(
    model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass, batches: Iterable[Any], *, differentiates: bool
) -> float | None:
    """Search for the number that takes the loss to zero where every answer is this number, for every example of the data.

    Asked where the loss is made of the model's own answers: of their derivatives by its input, or of goals that a call without
    gradients makes. An answer in the place of a module's has derivatives by its input, which are zero.

    Args:
        model: is handed to `forward`; the caller puts modes, buffers and random state back.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.
        seen: the same pass.
        batches: of the loader, of which a thousand examples are asked.
        differentiates: whether the loss takes derivatives of answers for a graph of its own.

    Returns:
        The number. None where there is none, where other numbers do as well (a loss of likeness alone), where zero is not the
        least that the loss may be (as of score matching, which adds a slope to a square), and where no bias moves all answers
        alike: what an answer is then made of may hold a value of its own, as at a start.
    """
    replayed = _Replayed(model, batch, forward)
    if not replayed.shapes or not (differentiates or replayed.makes_goals):
        return None
    own = replayed.own
    if not (math.isfinite(own) and own > 0) or not _shifts_alike(model, seen.output):
        return None
    best = _lowest(replayed.cost)
    if best is None or not 0 <= replayed.cost(best) <= _NOTHING * own:
        return None
    away = _AWAY * max(abs(best), 1.0)
    if not min(replayed.cost(best - away), replayed.cost(best + away)) > _SOMETHING * own:
        return None
    if min(replayed.cost_of_scaled(factor) for factor in _SHRUNK) < -_NOTHING * own:
        return None
    asked = 0
    for other in islice(batches, _MOST_BATCHES):
        if not replayed.cost(best, to_device(other, replayed.device)) <= _NOTHING * own:
            return None
        asked += batch_size(other) or 0
        if asked >= _MOST_EXAMPLES:
            break
    return best


def _lowest(cost: Callable[[float], float]) -> float | None:
    """Where a cost is lowest, between the neighbours of the best of a few numbers."""
    costs = [cost(at) for at in _GRID]
    if not all(map(math.isfinite, costs)):
        return None
    place = min(range(len(costs)), key=costs.__getitem__)
    low, high = _GRID[max(place - 1, 0)], _GRID[min(place + 1, len(_GRID) - 1)]
    for _ in range(_HALVINGS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        low, high = (low, right) if cost(left) <= cost(right) else (left, high)
    return min(((low + high) / 2, _GRID[place]), key=cost)


def _shifts_alike(model: nn.Module, output: Tensor | None) -> bool:
    """Whether a bias moves the answers to all examples by the same."""
    if output is None or output.dim() == 0 or not output.requires_grad or len(output) < 2:
        return False
    biases = [p for p in model.parameters() if p.requires_grad and p.dim() == 1]
    rows = [output[row].sum() for row in (0, len(output) // 2, len(output) - 1)]
    slopes = [torch.autograd.grad(row, biases, allow_unused=True, retain_graph=True) for row in rows]
    for first, *others in zip(*slopes, strict=True):
        if first is None or any(other is None for other in others) or not bool((first != 0).all()):
            continue
        if all(bool((other - first).abs().max() <= _EVEN * first.abs().max()) for other in others if other is not None):
            return True
    return False


class _Replayed:
    """The loss with one number in the place of whatever the model, or a part that is called by itself, returns.

    Attributes:
        own: the loss of the model's own answers.
        shapes: by module, of one example's answer; empty where some call returns another thing than a row per example.
        makes_goals: whether one of the calls ran without gradients, and not all.
    """

    def __init__(self, model: nn.Module, batch: Any, forward: Forward) -> None:
        self.shapes: dict[nn.Module, torch.Size] = {}
        self._model, self._batch, self._loss, self._depth = model, batch, forward, 0
        parameter = next(model.parameters(), None)
        self.device = parameter.device if parameter is not None else torch.device("cpu")
        with_gradients: list[bool] = []
        fits = True

        def before(module: nn.Module, args: Any) -> None:
            self._depth += 1

        def after(module: nn.Module, args: Any, output: Any) -> None:
            nonlocal fits
            self._depth -= 1
            if self._depth:
                return
            with_gradients.append(torch.is_grad_enabled())
            given = args[0] if args else None
            is_rows = isinstance(output, Tensor) and output.is_floating_point() and output.dim() > 0
            fits &= is_rows and isinstance(given, Tensor) and given.is_floating_point() and given.shape[:1] == output.shape[:1]
            if is_rows:
                self.shapes[module] = output.shape[1:]

        handles = [h for m in model.modules() for h in (m.register_forward_pre_hook(before), m.register_forward_hook(after))]
        try:
            self.own = self._ask(batch)
        finally:
            for handle in handles:
                handle.remove()
        self.shapes = self.shapes if fits else {}
        self.makes_goals = any(with_gradients) and not all(with_gradients)

    def _ask(self, batch: Any) -> float:
        with torch.enable_grad(), randomness_restored():
            seed_torch(0)
            return float(self._loss(self._model, batch).detach().sum())

    def cost(self, number: float, batch: Any = None) -> float:
        """The loss where every answer is this number."""
        answers = {module: _Constant(number, shape) for module, shape in self.shapes.items()}
        return self._cost_of(answers, self._batch if batch is None else batch)

    def cost_of_scaled(self, factor: float) -> float:
        """The loss of the model's own answers times a factor."""
        return self._cost_of({module: _Scaled(factor, module.forward) for module in self.shapes}, self._batch)

    def _cost_of(self, answers: dict[nn.Module, Callable[..., Tensor]], batch: Any) -> float:
        plain = {module: vars(module).get("forward") for module in answers}
        for module, answer in answers.items():
            module.forward = answer  # type: ignore[method-assign]
        try:
            return self._ask(batch)
        finally:
            for module, own in plain.items():
                del module.forward
                if own is not None:
                    module.forward = own


class _Constant:
    """Answers one number, of which derivatives by the input, and derivatives of those, are zero."""

    def __init__(self, number: float, shape: torch.Size) -> None:
        self._number, self._shape = number, shape

    def __call__(self, given: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Rows (n, ...) to (n, *shape)."""
        answer = torch.full((len(given), *self._shape), self._number, dtype=given.dtype, device=given.device)
        if not given.requires_grad:
            return answer.requires_grad_(torch.is_grad_enabled())
        still = 0 * given.flatten(1).pow(4).sum(dim=1) if given.dim() > 1 else 0 * given.pow(4)
        return answer + still.view(-1, *[1] * len(self._shape))


class _Scaled:
    """Answers what a module does, times a factor."""

    def __init__(self, factor: float, forward: Callable[..., Tensor]) -> None:
        self._factor, self._forward = factor, forward

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """As the module."""
        return self._factor * self._forward(*args, **kwargs)
