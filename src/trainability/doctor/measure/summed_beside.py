"""A sum over all examples that is added to each example's own term: read off the graph of the loss."""

from __future__ import annotations

import math
from typing import Any

from trainability.doctor.measure.nodes import call_of, given_shape, parents_of, shape_at, within

_ADDED = ("Neg", "Add", "Sub", "Rsub", "View", "UnsafeView", "Squeeze", "Unsqueeze", "Clone")
_LINEAR = (*_ADDED, "Mul", "Div", "Mean", "Sum")
_LAYERS = ("Addmm", "Mm", "Bmm", "Convolution", "Linear", "Embedding", "NativeLayerNorm", "NativeBatchNorm")
_FEWEST = 8  # examples
_MOST = 5_000


def summed_beside(root: Any) -> int | None:
    """Look for (n,) plus a number that is a sum over n examples, under the mean or sum of these n.

    Args:
        root: of the graph of a loss, which may have been freed.

    Returns:
        n; None if there is no such sum, if it is weighted before it is added, and if it is a sum over weights.
    """
    for node in within((root,), _LINEAR, _MOST):
        each = shape_at(node)
        if call_of(node) not in _ADDED or math.prod(each) < _FEWEST or each[0] != math.prod(each):
            continue
        terms = [(above, shape_at(above, place)) for above, place in node.next_functions if above is not None]
        if len(terms) < 2 or each not in [shape for _, shape in terms]:
            continue
        numbers = [above for above, shape in terms if math.prod(shape) == 1]
        if any(_sums(found, each[0]) for found in within(numbers, _ADDED, _MOST)):
            return each[0]
    return None


def _sums(node: Any, size: int) -> bool:
    """Whether a node sums all numbers of that many rows computed by a layer."""
    if call_of(node) != "Sum" or math.prod(shape_at(node)) != 1 or given_shape(node)[:1] != (size,):
        return False
    return any(call_of(found) in _LAYERS for found in within(parents_of(node), None, _MOST))
