"""Attention weights that are normalised over another dimension than the one that they are summed over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trainability.doctor.measure.nodes import call_of, given_shape, parents_of, shape_at, within, wrapped

_PRODUCTS = ("Bmm", "Mm", "Baddbmm")
_SHARES = ("Softmax", "SafeSoftmax")
_VIEWS = ("View", "UnsafeView", "ReshapeAlias")
_AS_THEY_ARE = ("Expand", "Clone", "Alias", "ToCopy", "NativeDropout", "MaskedFill", "Mul", "Div")
# Between a product of queries and keys and the softmax.
_TO_SCORES = (*_AS_THEY_ARE, *_VIEWS, "Add", "Sub", "Where", "Clamp", "Tanh", "Unsqueeze", "Squeeze", "Transpose", "Permute")
_MOST_NODES, _MOST_BESIDE, _LONGEST_PATH = 20_000, 60, 20


def weights_astray(root: Any) -> tuple[tuple[int, ...], int, int] | None:
    """Look for a softmax of products of two tensors whose dimension is not the one over which the next product sums.

    Args:
        root: of the graph of a loss, which may have been freed.

    Returns:
        Shape of the weights, the dimension of the softmax, and that of the sum. None where they are one, and where weights are
        an assignment, as of nodes to clusters: shares of each row, of which columns are taken by a transpose, or of a matrix
        that is not square. Also where weights are divided by their sum afterwards, or multiplied with each other.
    """
    compared = (_compared(*each) for each in _weights(root))
    return next((found for found in compared if found is not None), None)


def attention_weights(root: Any) -> list[Any]:
    """The softmax nodes of attention that is written by hand: of products, and summed over in another product."""
    return [node for node, _, _ in _weights(root) if _is_of_products(node)]


def _weights(root: Any) -> Iterator[tuple[Any, int, bool]]:
    """Softmax nodes that are operands of products, the dimension that these sum over, and whether it is the first operand."""
    for node in within((root,), None, _MOST_NODES):
        if call_of(node) not in _PRODUCTS:
            continue
        operands: list[Any] = list(node.next_functions[-2:])  # of Baddbmm, behind what is added
        for place, (above, _) in enumerate(operands):
            found = _behind(above, place) if above is not None else None
            if found is not None:
                weights, summed = found
                yield weights, summed, place == 0


def _behind(node: Any, place: int) -> tuple[Any, int] | None:
    """Follow an operand of a product, the first or second, to a softmax, and to its dimension that the product sums over."""
    summed: int | None = len(shape_at(node)) - (1 if place == 0 else 2)
    for _ in range(_LONGEST_PATH):
        call, shape, parents = call_of(node), shape_at(node), parents_of(node)
        if summed is None or not 0 <= summed < len(shape) or shape[summed] < 2:
            return None
        if call in _SHARES:
            return node, summed
        if len(parents) != 1:
            return None
        if call in _VIEWS:
            summed = _before_view(given_shape(node), shape, summed)
        elif call == "Unsqueeze":
            at = wrapped(node._saved_dim, len(shape))
            summed -= at < summed
        elif call in ("Transpose", "Permute", "T"):
            summed = _before_turning(node, call, len(shape), summed)
        elif call not in _AS_THEY_ARE:
            return None
        node = parents[0]
    return None


def _before_view(given: tuple[int, ...], made: tuple[int, ...], here: int) -> int | None:
    """A dimension before a view that leaves it, and those behind it, as they are, but for dimensions of size 1."""
    behind = [size for size in made[here:] if size > 1]
    for k in range(len(given)):
        if given[k] > 1 and [size for size in given[k:] if size > 1] == behind:
            return k
    return None


def _before_turning(node: Any, call: str, dims: int, here: int) -> int:
    """A dimension before dimensions change places."""
    if call == "T":
        return 1 - here
    if call == "Permute":
        return wrapped(node._saved_dims[here], dims)
    one, other = wrapped(node._saved_dim0, dims), wrapped(node._saved_dim1, dims)
    return {one: other, other: one}.get(here, here)


def _compared(node: Any, summed: int, is_first: bool) -> tuple[tuple[int, ...], int, int] | None:
    shape = shape_at(node)
    dim, last = wrapped(node._saved_dim, len(shape)), len(shape) - 1
    if dim == summed or shape[dim] < 2:
        return None
    is_assignment = dim == last and (is_first or shape[-1] != shape[-2])
    return None if is_assignment or not _is_of_products(node) else (shape, dim, summed)


def _is_of_products(node: Any) -> bool:
    scores = within(parents_of(node), _TO_SCORES, _MOST_BESIDE)
    return any(call_of(each) in _PRODUCTS and len(parents_of(each)) > 1 for each in scores)
