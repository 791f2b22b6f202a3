"""Terms of a loss that compare a bounded part of the outputs with targets outside its bounds; no sum of terms hides them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from trainability.doctor.measure.beyond_range import cut, is_table, outside, read_places
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
_LEAST_CUT = 0.15  # of the targets' variance, that clipping them costs: less is noise around a bound


def bounded_term(nodes: Iterable[Any], loss: Tensor) -> tuple[str, str, float] | None:
    """Find a distance of which one side is made by a bounded function, and the other has values beyond its bounds.

    Args:
        nodes: of the loss, before the backward pass.
        loss: with its graph.

    Returns:
        The loss function, what bounds the outputs, and the share of the targets out of range, of all that the loss reads or in
        the column with the most, a quarter or more, where clipping them costs 15 % of their variance or more; None if there
        is none, or the graph was freed.
    """
    for node in nodes:
        if call_of(node) not in _DISTANCES:
            continue
        sides = node.next_functions
        if len(sides) < 2 or (sides[0][0] is None) == (sides[1][0] is None):
            continue
        with contextlib.suppress(RuntimeError):
            above, place = sides[0] if sides[1][0] is None else sides[1]
            target = (node._saved_target if sides[1][0] is None else node._saved_self).detach()
            found = _range_of(above)
            if found is None or _outside(target, *found[1:], None) < _LEAST:
                continue
            counts = read_places(loss, GradientEdge(above, place))
            counts = counts if counts is not None and counts.shape == target.shape else None
            share = _outside(target, *found[1:], counts)
            if share >= _LEAST and float(cut(target, *found[1:], counts)) >= _LEAST_CUT:
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


def _outside(target: Tensor, low: float, high: float, counts: Tensor | None) -> float:
    """The share of the targets out of range, of those that count; of a table, in the column where it is largest."""
    counts = torch.ones_like(target, dtype=torch.bool) if counts is None else counts
    dims = (0,) if is_table(target) else tuple(range(target.dim()))
    shares = (outside(target, low, high) & counts).sum(dim=dims) / counts.sum(dim=dims).clamp(min=1)
    return float(shares.max()) if target.numel() else 0.0
