"""Whether a loss of pairs is as low where all outputs are one as it gets anywhere."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

_STEPS, _RATE = 300, 0.05
_MOST_LONGER = 100.0  # times the outputs' own length: a loss without a floor has none
_NEAR = 1e-3  # of the fall


def same_is_lowest(loss: Callable[[Tensor], Tensor], points: Tensor) -> bool:
    """Look for the lowest loss of free rows, and of one row for all, at the same number of steps.

    A rating that a product of two factors is to come to also pulls these together while they are small; but one row for all
    does not come to several ratings.

    Args:
        loss: of rows.
        points: (count, width), what to begin with.
    """
    start = float(loss(points).detach())
    free, same = (_lowest(loss, points, rows) for rows in (len(points), 1))
    return math.isfinite(free) and same <= free + _NEAR * max(start - free, 0.0)


def _lowest(loss: Callable[[Tensor], Tensor], points: Tensor, rows: int) -> float:
    """Of so many rows, each repeated for all where it is one; directions and lengths are free."""
    length = points.norm(dim=1, keepdim=True).mean()
    direction = (points[:rows] / length).detach().clone().requires_grad_()
    longer = torch.zeros(rows, 1, dtype=points.dtype, device=points.device, requires_grad=True)
    stepper = torch.optim.Adam([direction, longer], lr=_RATE)
    limit, lowest = math.log(_MOST_LONGER), math.inf
    for _ in range(_STEPS):
        unit = torch.nn.functional.normalize(direction, dim=1)
        cost = loss((unit * length * longer.clamp(-limit, limit).exp()).expand(len(points), -1) * 1)
        lowest = min(lowest, float(cost.detach()))
        stepper.zero_grad()
        direction.grad, longer.grad = torch.autograd.grad(cost, [direction, longer])
        stepper.step()
    return lowest
