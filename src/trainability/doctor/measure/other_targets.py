"""The loss of targets that are moved, by which a distance between numbers is told from other losses."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.instead import Returned, exchanged, loss_of, returned_once
from trainability.doctor.measure.randomness import randomness_restored, seed_torch

_EXACT = 2e-3  # of a change of the loss
_TWICE, _DEARER = 1.5, 1.3  # a shift by the range over half of it, and over none
_DRAWS, _PLACES, _BEYOND = 3, 25, 0.5  # other answers; numbers that targets are set to, up to so much of the range beyond it
Forward = Callable[[Any, Any], Tensor]


class OtherTargets:
    """The loss of a batch with targets that are moved.

    Args:
        model: runs as it is.
        batch: holds the target.
        forward: of (model, batch), the loss.
        target: a tensor of the batch, examples first.
    """

    def __init__(self, model: nn.Module, batch: Any, forward: Forward, target: Tensor) -> None:
        self._model, self._batch, self._forward = model, batch, forward
        self._own, self._target = target, target.detach()

    def _cost(self, by: Tensor | float) -> float:
        changed = exchanged(self._batch, self._own, self._target + by)
        with torch.enable_grad(), randomness_restored():
            seed_torch(0)
            return float(self._forward(self._model, changed).detach().sum())

    def goes_apart(self) -> bool:
        """Whether it rises, both ways together, when all targets are moved: it is convex in them, and does not repeat."""
        by = float(self._target.amax() - self._target.amin())
        with contextlib.suppress(Exception):  # a loss that takes some numbers alone
            return self._cost(by) + self._cost(-by) > 2 * self._cost(0.0) * (1 + _EXACT / 10)
        return False

    def is_distance(self, column: int | None, by: float) -> bool:
        """Whether it is a square of what targets are moved by, or grows in proportion far away, as an absolute error does.

        Args:
            column: of the targets, that is moved; None for all.
            by: how far, about their range.

        A loss on the circle is nearly the same when targets are moved once around; one of several answers (a mixture) is no
        square and, far away, in no proportion, or, where the model's answers are all alike, has a dip at each of others.
        """
        return self._grows(column, by) and not self._dips(column)

    def _dips(self, column: int | None) -> bool:
        """Whether with other answers, one for all examples, the loss is not convex in a number that is the target of all."""
        with contextlib.suppress(Exception):  # answers that it does not take
            own = returned_once(self._model, self._batch, self._forward)
            if own is None or not all(t.is_floating_point() and t.dim() > 0 for t in own.tensors):
                return False
            moved = self._target.reshape(len(self._target), -1)[:, slice(None) if column is None else column].float()
            low, size = float(moved.amin()), float(moved.amax() - moved.amin())
            rng = torch.Generator().manual_seed(0)
            for start, width in ((low, size), (-2.0, 4.0)) * _DRAWS:  # or as targets are that the loss standardises
                drawn = [start + width * torch.rand(t.shape[1:], generator=rng) for t in own.tensors]
                answers = [d.to(t.device, t.dtype).expand_as(t) for d, t in zip(drawn, own.tensors, strict=True)]
                costs = torch.tensor([self._cost_of(column, low + size * p, own, answers) for p in _places()])
                bent = costs[2:] - 2 * costs[1:-1] + costs[:-2]
                if bool(costs.isfinite().all()) and float(bent.amin()) < -_EXACT * float(costs.amax() - costs.amin()):
                    return True
        return False

    def _cost_of(self, column: int | None, number: float, own: Returned, answers: list[Tensor]) -> float:
        """The loss of these answers, where all targets, or those of a column, are one number."""
        target = self._target.to(torch.promote_types(self._target.dtype, torch.float32), copy=True)
        target.reshape(len(target), -1)[:, slice(None) if column is None else column] = number
        changed = exchanged(self._batch, self._own, target)
        return float(loss_of(self._model, changed, self._forward, own, answers).detach())

    def _grows(self, column: int | None, by: float) -> bool:
        step = torch.zeros_like(self._target, dtype=torch.promote_types(self._target.dtype, torch.float32))
        step.reshape(len(step), -1)[:, slice(None) if column is None else column] = by
        with contextlib.suppress(Exception):
            own = self._cost(0.0)

            def dearer(times: float) -> float:
                return (self._cost(times * step) + self._cost(-times * step)) / 2 - own

            once, half, most = dearer(1.0), dearer(0.5), dearer(0.75)
            if not once > 0:
                return False
            if abs(half - 0.25 * once) <= _EXACT * once and abs(most - 0.5625 * once) <= _EXACT * once:
                return True
            if once < _TWICE * half or once + own < _DEARER * own:
                return False
            four, five, six = dearer(4.0), dearer(5.0), dearer(6.0)
            return five > four and abs((six - five) - (five - four)) <= _EXACT * (five - four)
        return False


def _places() -> list[float]:
    return torch.linspace(-_BEYOND, 1 + _BEYOND, _PLACES).tolist()


def is_on_a_line(model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass) -> bool:
    """Whether the loss is a squared, absolute or Huber error of targets that are one number an example."""
    shown = {t.data_ptr() for _, t in tensors(seen.inputs)}
    for _, target in seen.batch:
        is_plain = target.layout == torch.strided and target.dim() > 0 and not target.is_complex()
        if not is_plain or not target.numel() == len(target) > 0 or target.data_ptr() in shown:
            continue
        by = float(target.detach().amax()) - float(target.detach().amin())
        if by > 0 and OtherTargets(model, batch, forward, target).is_distance(None, by):
            return True
    return False
