"""Over which dimension a softmax runs whose outputs a loss takes for log-probabilities or logits of classes."""

from __future__ import annotations

import math
from typing import Any

from trainability.doctor.measure.nodes import call_of, given_shape, name_of, parents_of, shape_at, wrapped

_CLASSES = {"NllLossBackward": 1, "NllLoss2DBackward": 1, "CtcLossBackward": 2}  # their dimension in what each takes
_SAME_PLACES = ("Log", "Clamp", "ClampMin", "Clone", "ToCopy", "Alias", "Slice", "Add", "Neg", "Mul")
_VIEWS = ("View", "UnsafeView", "ReshapeAlias")
_MOST = 40  # calls between the loss and the softmax


def softmax_astray(nodes: Any) -> tuple[tuple[int, ...], int, int] | None:
    """Look for one softmax over another dimension than the one in which the loss looks classes up.

    Args:
        nodes: of the loss.

    Returns:
        Shape of what the softmax takes, the dimension that it runs over, and that of the classes. None without one; of several,
        as where rows and columns of a matrix are normalised in turn; and where both dimensions have one size, as in a
        matching of pairs.
    """
    for node in nodes:
        if name_of(node) in _CLASSES and (found := _behind(node)) is not None:
            return found
    return None


def _behind(loss: Any) -> tuple[tuple[int, ...], int, int] | None:
    node = next(iter(parents_of(loss)), None)
    dims = len(shape_at(node)) if node is not None else 0
    dim = min(_CLASSES[name_of(loss)], dims - 1)
    found = []
    for _ in range(_MOST):
        if node is None or dim is None or dim < 0:
            break
        shape = shape_at(node)
        if "oftmax" in call_of(node):
            over = wrapped(node._saved_dim, len(shape))
            if over != dim:
                found.append((shape, over, dim))
        else:
            dim = _before(node, dim)
        above = parents_of(node)
        node = above[0] if len(above) == 1 else None
    return found[0] if len(found) == 1 and _differ(*found[0]) else None


def _differ(shape: tuple[int, ...], over: int, dim: int) -> bool:
    return shape[over] > 1 and shape[over] != shape[dim]


def _before(node: Any, dim: int) -> int | None:
    """Where a dimension of a node's output lies in its input; None if it is not there alone, or the call is not known."""
    call, made = call_of(node), shape_at(node)
    if call in _SAME_PLACES:
        above = [shape_at(parent) for parent in parents_of(node)]
        is_same = call == "Slice" or above == [made]  # not where another shape is broadcast to this one
        return dim if is_same else None
    if call in ("T", "Transpose"):
        first, second = (0, 1) if call == "T" else (wrapped(d, len(made)) for d in (node._saved_dim0, node._saved_dim1))
        return {first: second, second: first}.get(dim, dim)
    if call == "Permute":
        return wrapped(node._saved_dims[dim], len(made))
    if call in _VIEWS:
        given = given_shape(node)
        starts = [k for k in range(len(given)) if given[k] == made[dim] and math.prod(given[:k]) == math.prod(made[:dim])]
        return starts[0] if len(starts) == 1 else None
    return None
