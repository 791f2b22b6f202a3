"""Terms of a loss that compare a bounded part of the outputs with targets outside its bounds; no sum of terms hides them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from trainability.doctor.measure.nodes import SAME_VALUES, call_of, parents_of, shape_at

_DISTANCES = ("MseLoss", "SmoothL1Loss", "HuberLoss")
_RANGES = {
    "Sigmoid": ("sigmoid", 0.0, 1.0),
    "Softmax": ("softmax", 0.0, 1.0),
    "Relu": ("relu", 0.0, math.inf),
    "Softplus": ("softplus", 0.0, math.inf),
    "Tanh": ("tanh", -1.0, 1.0),
}
_SAME = (*SAME_VALUES, "Cat", "Stack", "Split", "Unbind", "Gather")
_LEAST = 0.25  # share of a term's targets, or of those in one of its columns
_FEWEST_ROWS = 16


def bounded_term(nodes: Iterable[Any]) -> tuple[str, str, float] | None:
    """Find a distance of which one side is made by a bounded function, and the other has values beyond its bounds.

    Args:
        nodes: of the loss, before the backward pass.

    Returns:
        The loss function, what bounds the outputs, and the share of the targets out of range, of all or in the column with the
        most, a quarter or more; None if there is none, or the graph was freed.
    """
    for node in nodes:
        if call_of(node) not in _DISTANCES:
            continue
        sides = [above for above, _ in node.next_functions]
        if len(sides) < 2 or (sides[0] is None) == (sides[1] is None):
            continue
        with contextlib.suppress(RuntimeError):
            target = node._saved_target if sides[1] is None else node._saved_self
            found = _range_of(sides[0] or sides[1])
            share = _outside(target.detach(), *found[1:]) if found is not None else 0.0
            if found is not None and share >= _LEAST:
                return call_of(node), found[0], share
    return None


def _range_of(node: Any) -> tuple[str, float, float] | None:
    """The function that makes all the values which a node hands on, with its bounds."""
    while call_of(node) in _SAME:
        above = [each for each in parents_of(node) if math.prod(shape_at(each) or (1,))]  # an empty part adds nothing
        found = {_range_of(each) for each in above} if len(above) > 1 else set()
        if len(above) != 1:
            return found.pop() if len(found) == 1 else None
        (node,) = above
    return _RANGES.get(call_of(node))


def _outside(target: Tensor, low: float, high: float) -> float:
    """The share of values out of range; of a table, in the column where it is largest."""
    out = ((target < low) | (target > high)).float()
    if out.dim() == 2 and len(out) >= _FEWEST_ROWS and out.shape[1]:
        return float(out.mean(dim=0).max())
    return float(out.mean()) if out.numel() else 0.0
