"""Attention heads that are split or merged by a view instead of a transpose, read off the graph of the loss."""

from __future__ import annotations

from typing import Any

from trainability.doctor.graph_facts import MisreadHeads
from trainability.doctor.measure.nodes import call_of, given_shape, parents_of, shape_at, within

_VIEWS = ("View", "UnsafeView", "ReshapeAlias")
_PRODUCTS = ("Bmm", "Baddbmm")
_SHARES = ("Softmax", "SafeSoftmax")
_FUSED = "ScaledDotProduct"
# Nodes allowed between heads and the product of queries and keys: no layers, and no product of two of them.
_BESIDE_SCORES = ("Expand", "Transpose", "Permute", "T", "Clone", "Alias", "ToCopy", "Squeeze", "Unsqueeze", "Mul", "Div")
_BESIDE_SCORES += ("Add", "Sub", "Neg", "MaskedFill", "Where", "Cat", "Slice", "Select", "NativeLayerNorm")
_BESIDE_SHARES = ("Expand", "Clone", "Alias", "ToCopy", "Mul", "Div", "NativeDropout", "MaskedFill", "Unsqueeze", "Permute")
_AS_THEY_ARE = ("Clone", "Alias", "ToCopy")
_MOST_NODES, _MOST_BESIDE = 20_000, 60


def misread_heads(root: Any) -> MisreadHeads | None:
    """Look for attention whose heads are (batch, places, heads times width) viewed as (batch, heads, places, width).

    Args:
        root: of the graph of a loss, which may have been freed.

    Returns:
        "split" for queries, keys or values, "merged" for the result of attention. None if there is neither, and if there are as
        many heads as places: the same view may then precede a transpose.
    """
    attention, products, views = list[Any](), list[Any](), list[Any]()
    for node in within((root,), None, _MOST_NODES):
        for names, found in ((_SHARES, attention), (_PRODUCTS, products), (_VIEWS, views)):
            if call_of(node) in names or (found is attention and call_of(node).startswith(_FUSED)):
                found.append(node)
    shares = {id(node) for node in attention}
    weighed = [node for node in products if any(_holds(above, shares) for above in parents_of(node))]
    for node in (*attention, *weighed):
        parents = [above for above in parents_of(node) if not _holds(above, shares)]
        for view in within(parents, (*_BESIDE_SCORES, *_VIEWS, *_PRODUCTS), _MOST_BESIDE):
            given, made = given_shape(view), shape_at(view)
            if call_of(view) in _VIEWS and (heads := _num_heads(given, made)) and _runs_over(node, given, heads):
                return MisreadHeads(kind="split", given=given, made=made)
    ends = shares | {id(node) for node in weighed}
    for view in views:
        given, made = given_shape(view), shape_at(view)
        is_of_heads = any(
            id(node) in ends and (id(node) not in shares or call_of(node).startswith(_FUSED))
            for node in within(parents_of(view), (*_AS_THEY_ARE, *_VIEWS), _MOST_BESIDE)
        )
        if is_of_heads and _num_heads(made, given):
            return MisreadHeads(kind="merged", given=given, made=made)
    return None


def _num_heads(whole: tuple[int, ...], heads: tuple[int, ...]) -> int | None:
    """Number of heads, if (batch, places, heads * width) was viewed as (batch, heads, ...) or (batch * heads, ...)."""
    if len(whole) != 3 or 0 in whole or len(heads) not in (3, 4):
        return None
    size, places, wide = whole
    number = heads[1] if len(heads) == 4 else heads[0] // size
    in_batch = heads[:2] == (size, number) if len(heads) == 4 else heads[0] == size * number
    is_viewed = in_batch and heads[-2] == places and heads[-1] * number == wide
    return number if is_viewed and number != places and min(number, places) > 1 else None


def _runs_over(node: Any, whole: tuple[int, ...], heads: int) -> bool:
    """Whether attention runs over the places of this many heads, as (batch, heads, ...) or (batch * heads, ...)."""
    shape = shape_at(node)
    in_batch = shape[:2] == (whole[0], heads) if len(shape) == 4 else shape[:1] == (whole[0] * heads,)
    return in_batch and (whole[1] in shape[-2:] or call_of(node) not in _SHARES)


def _holds(node: Any, shares: set[int]) -> bool:
    """Whether attention weights reach this node unchanged, except for dropout and views."""
    return any(id(found) in shares for found in within((node,), (*_BESIDE_SHARES, *_VIEWS), _MOST_BESIDE))
