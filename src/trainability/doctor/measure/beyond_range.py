"""Targets beyond a range: how many of those that count, and what it costs to clip them."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

FEWEST_ROWS = 16  # of a table, from which its columns are looked at one by one
_ROUNDING = 4.0  # times a number's own precision


def outside(targets: Tensor, low: float, high: float) -> Tensor:
    """Where targets are out of range by more than rounding: a mark that was scaled and scaled back is 1.0000001."""
    values = targets.detach().float()
    precision = torch.finfo(targets.dtype).eps if targets.is_floating_point() else 0.0
    size = torch.where(values.isfinite(), values, 0.0).abs().amax() if values.numel() else 0.0
    slight = _ROUNDING * max(precision, torch.finfo(torch.float32).eps) * size
    return (values < low - slight) | (values > high + slight)


def cut(targets: Tensor, low: float, high: float, counts: Tensor | None = None) -> Tensor:
    """What clipping to a range costs: the mean square of what it takes, over the variance.

    Of a table, the column's with the most, over the largest variance of a column: noise of a column that is mostly at a bound
    is of one size with others' noise, and its own variance is nothing else.

    Args:
        targets: of any shape; a table is (examples, columns).
        low: of the range.
        high: of the range.
        counts: like `targets`, where the loss reads them; None for everywhere.

    Returns:
        One number on the device; over the square of targets that are all equal.
    """
    values, counts = targets.detach().float(), _countable(targets, counts)
    dims = (0,) if is_table(values) else tuple(range(values.dim()))
    number = counts.sum(dim=dims, keepdim=True).clamp(min=1)

    def mean(numbers: Tensor) -> Tensor:
        return torch.where(counts, numbers, 0.0).sum(dim=dims, keepdim=True) / number

    taken = torch.where(outside(targets, low, high), values - values.clamp(low, high), 0.0)
    variance, square = mean((values - mean(values)).square()).max(), mean(values.square()).max()
    scale = torch.where(variance > 0, variance, square).clamp(min=torch.finfo(torch.float32).tiny)
    return mean(taken.square()).max() / scale


def is_table(values: Tensor) -> bool:
    """Whether columns are looked at one by one."""
    return values.dim() == 2 and len(values) >= FEWEST_ROWS and values.shape[1] > 0


def share(targets: Tensor, low: float, high: float, counts: Tensor | None = None) -> Tensor:
    """The share of the targets out of range, of those that count; 0 where none does."""
    counts = _countable(targets, counts)
    return (outside(targets, low, high) & counts).float().sum() / counts.sum().clamp(min=1)


def read_places(loss: Tensor | None, at: Tensor | GradientEdge) -> Tensor | None:
    """Where a loss has a gradient: what it multiplies by a mask of zeros, it does not read.

    Args:
        loss: with its graph, which stays; None if it is not known.
        at: the outputs, or where they go into a function of the loss.

    Returns:
        Like the outputs; None where the loss has no gradient there at all, or its graph is gone.
    """
    inputs: Any = [at]
    slope: Tensor | None = None
    with contextlib.suppress(RuntimeError):
        if loss is not None and loss.requires_grad:
            (slope,) = torch.autograd.grad(loss, inputs, retain_graph=True, allow_unused=True)
    return slope != 0 if slope is not None and bool((slope != 0).any()) else None


def target_facts(target: Tensor, output: Tensor | None, loss: Tensor | None) -> dict[str, Any]:
    """Fields of `Facts` about targets outside of two ranges, at places that the loss reads.

    Args:
        target: that the loss is given.
        output: that it is compared with.
        loss: with its graph.
    """
    counts = None
    if bool(outside(target, 0.0, 1.0).any()) and output is not None and output.requires_grad and output.shape == target.shape:
        counts = read_places(loss, output)
    return {
        "target_below_zero": float(share(target, 0.0, torch.inf, counts)),
        "target_outside_unit": float(share(target, 0.0, 1.0, counts)),
        "cut_at_zero": float(cut(target, 0.0, torch.inf, counts)),
        "cut_to_unit": float(cut(target, 0.0, 1.0, counts)),
    }


def _countable(targets: Tensor, counts: Tensor | None) -> Tensor:
    known = targets.detach().float().isfinite()
    return known if counts is None else known & counts
