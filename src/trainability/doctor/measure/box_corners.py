"""Boxes that a loss takes for corners, and that are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import tensors
from trainability.doctor.measure.randomness import randomness_restored

_NUMBERS = 4  # of a box
_FEWEST = 8  # boxes


def boxes_crossed(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> float | None:
    """The share of a batch's boxes of which a loss takes a negative width or height.

    A loss of corners (x1, y1, x2, y2) subtracts the first two numbers of a target from the last two. Of a target (x, y, width,
    height) that is a width minus a place.

    Args:
        model: runs once more.
        batch: as the loop draws it, with boxes in the last dimension of a tensor.
        forward: of (model, batch), the loss.

    Returns:
        None where no loss subtracts them so, or fewer than eight boxes have other numbers than zero.
    """
    boxes = [t.detach() for _, t in tensors(batch) if t.is_floating_point() and t.dim() > 1 and t.shape[-1] == _NUMBERS]
    boxes = [rows for t in boxes if len(rows := t.reshape(-1, _NUMBERS)[t.reshape(-1, _NUMBERS).any(dim=1)]) >= _FEWEST]
    if not boxes:
        return None
    watch = _Widths()
    with randomness_restored(), torch.enable_grad(), watch:
        forward(model, batch)
    for rows in boxes:
        for last, first in watch.pairs:
            if _is_of(last, rows[:, 2:]) and _is_of(first, rows[:, :2]):
                return float((rows[:, 2:] < rows[:, :2]).any(dim=1).float().mean())
    return None


class _Widths(TorchFunctionMode):
    """Keeps what is subtracted from each other where both are parts of one tensor without a gradient, two numbers apart.

    Attributes:
        pairs: the minuend and what is subtracted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pairs: list[tuple[Tensor, Tensor]] = []

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if getattr(func, "__name__", "") in ("sub", "__sub__", "subtract") and len(args) == 2:
            last, first = args
            if isinstance(last, Tensor) and isinstance(first, Tensor) and _is_two_apart(last, first):
                self.pairs.append((last.detach().clone(), first.detach().clone()))
        return func(*args, **(kwargs or {}))


def _is_two_apart(last: Tensor, first: Tensor) -> bool:
    if last.requires_grad or first.requires_grad or last.shape != first.shape or last.stride() != first.stride():
        return False
    same = last.device == first.device and last.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
    return same and last.storage_offset() - first.storage_offset() == 2


def _is_of(taken: Tensor, numbers: Tensor) -> bool:
    """Whether what was taken is the first of the two columns, or both; rows of zeros, which stand for no box, left out."""
    flat = taken.reshape(-1, 2) if taken.dim() > 1 and taken.shape[-1] == 2 else taken.reshape(-1, 1)
    wanted = numbers[:, : flat.shape[1]]
    return flat.shape == wanted.shape and torch.equal(flat.to(wanted), wanted)
