"""Boxes that a loss takes for corners, and that are places and sizes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import tensors
from trainability.doctor.measure.randomness import randomness_restored

_NUMBERS = 4  # of a box
_FEWEST = 8  # boxes
_KEEPS = ("clamp", "clip", "clamp_min", "relu", "maximum")  # what an area may do with a side
_MULTIPLIES = ("mul", "multiply")


def boxes_crossed(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> float | None:
    """The share of a batch's boxes of which a loss takes a negative width or height.

    The area of corners (x1, y1, x2, y2) is the product of the last two numbers less the first two. Of a target (x, y, width,
    height) that is a width minus a place. Where the difference is a direction, as of the ends of a line, no area is taken.

    Args:
        model: runs once more.
        batch: as the loop draws it, with boxes in the last dimension of a tensor.
        forward: of (model, batch), the loss.

    Returns:
        None where no area is taken so, or fewer than eight boxes have other numbers than zero.
    """
    boxes = [t.detach() for _, t in tensors(batch) if t.is_floating_point() and t.dim() > 1 and t.shape[-1] == _NUMBERS]
    boxes = [rows for t in boxes if len(rows := t.reshape(-1, _NUMBERS)[t.reshape(-1, _NUMBERS).any(dim=1)]) >= _FEWEST]
    if not boxes:
        return None
    watch = _Areas()
    with randomness_restored(), torch.enable_grad(), watch:
        forward(model, batch)
    for rows in boxes:
        for last, first in watch.sides:
            if _is_of(last, rows[:, 2:]) and _is_of(first, rows[:, :2]):
                return float((rows[:, 2:] < rows[:, :2]).any(dim=1).float().mean())
    return None


class _Areas(TorchFunctionMode):
    """Follows differences of two parts of one tensor without a gradient, two numbers apart, to where they are multiplied.

    Attributes:
        sides: of differences that are sides of an area, the minuend and what is subtracted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sides: list[tuple[Tensor, Tensor]] = []
        self._known: dict[int, tuple[Tensor, tuple[Tensor, Tensor]]] = {}  # by id: a difference, and what it is of

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        with contextlib.suppress(Exception):  # one fact less, and never an error in the program's own code
            self._see(getattr(func, "__name__", "").strip("_"), args, result)
        return result

    def _see(self, name: str, args: tuple, result: Any) -> None:
        if name in ("sub", "subtract") and len(args) == 2:
            last, first = args
            if isinstance(last, Tensor) and isinstance(first, Tensor) and _is_two_apart(last, first):
                self._known[id(result)] = result, (last, first)
            return
        given = [self._known[id(x)] for x in args[:2] if isinstance(x, Tensor) and id(x) in self._known]
        if name in _KEEPS and given:
            self._known[id(result)] = result, given[0][1]
        elif name == "prod" and given and given[0][0].shape[-1:] == (2,):
            self.sides.append(given[0][1])
        elif name in _MULTIPLIES and len(given) == 2 and given[0][0] is not given[1][0]:
            self.sides += [of for _, of in given]


def _is_two_apart(last: Tensor, first: Tensor) -> bool:
    """Whether two tensors without a gradient are parts of one, the one two numbers behind the other in memory."""
    if last.requires_grad or first.requires_grad or last.shape != first.shape or last.stride() != first.stride():
        return False
    same = last.device == first.device and last.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
    return same and last.storage_offset() - first.storage_offset() == 2


def _is_of(taken: Tensor, numbers: Tensor) -> bool:
    """Whether what was taken is the first of the two columns, or both."""
    flat = taken.reshape(-1, 2) if taken.dim() > 1 and taken.shape[-1] == 2 else taken.reshape(-1, 1)
    wanted = numbers[:, : flat.shape[1]]
    return flat.shape == wanted.shape and torch.equal(flat.to(wanted), wanted)
