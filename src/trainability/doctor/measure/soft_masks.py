"""Masks of attention that leave weight where they should leave none: scores are filled with a number that is no smaller."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from trainability.doctor.measure.nodes import call_of, parents_of, shape_at, within, wrapped

_PRODUCTS, _SHARES = ("Bmm", "Mm", "Baddbmm"), ("Softmax", "SafeSoftmax")
_VIEWS = ("View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze")
_AS_THEY_ARE = (*_VIEWS, "Expand", "Clone", "Alias", "ToCopy", "NativeDropout", "Transpose", "Permute", "T")
_MOST_NODES, _LONGEST_PATH = 20_000, 20
_FEWEST_ROWS, _LEAST = 4, 0.1  # rows with keys of both kinds; weight of a hidden key over that of one that is shown


def soft_mask(loss: Tensor) -> tuple[tuple[int, ...], float] | None:
    """Look at masked scores of attention, and at what their softmax makes of them.

    Args:
        loss: with its graph, before it is freed.

    Returns:
        Shape of the weights, and the mean weight of a masked key over that of another one of its row, the median of the rows;
        None where it is below a tenth, and where weights are multiplied, divided or masked again before the values are summed.
    """
    for node in _weights(loss.grad_fn):
        hidden, shape = _hidden(node), shape_at(node)
        weights = getattr(node, "_saved_result", None)
        if hidden is None or not isinstance(weights, Tensor) or hidden.numel() != weights.numel() or not shape:
            continue
        dim = wrapped(node._saved_dim, len(shape))
        rows, masked = (
            t.reshape(shape).movedim(dim, -1).reshape(-1, shape[dim]) for t in (weights.detach().double(), hidden.double())
        )
        is_both = masked.any(dim=1) & (masked < 1).any(dim=1)
        rows, masked = rows[is_both], masked[is_both]
        if len(rows) < _FEWEST_ROWS:
            continue
        ratios = ((rows * masked).sum(1) / masked.sum(1)) / ((rows * (1 - masked)).sum(1) / (1 - masked).sum(1)).clamp(
            min=1e-30
        )
        found = float(ratios.median())
        if _LEAST < found < math.inf:
            return shape, found
    return None


def _weights(root: Any) -> Iterator[Any]:
    """Softmax nodes that are operands of products as they are."""
    for product in within((root,), None, _MOST_NODES):
        if call_of(product) not in _PRODUCTS:
            continue
        for node, _ in product.next_functions[-2:]:
            for _ in range(_LONGEST_PATH):
                if node is None or call_of(node) not in _AS_THEY_ARE or len(parents_of(node)) != 1:
                    break
                node = parents_of(node)[0]
            if node is not None and call_of(node) in _SHARES:
                yield node


def _hidden(node: Any) -> Tensor | None:
    """Which scores were filled with a number right before a softmax, in the order of its own places."""
    for _ in range(_LONGEST_PATH):
        above = parents_of(node)
        if len(above) != 1:
            return None
        node = above[0]
        call = call_of(node)
        if call == "MaskedFill":
            mask = node._saved_mask
        elif call == "Where" and sum(each is None for each, _ in node.next_functions) == 1:
            mask = node._saved_condition if node.next_functions[0][0] is None else ~node._saved_condition
        elif call in _VIEWS:
            continue
        else:
            return None
        return mask.detach().expand(shape_at(node))
    return None
