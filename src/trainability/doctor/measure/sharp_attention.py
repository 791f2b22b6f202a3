"""Attention that looks at a single key from the start: scores so large that its softmax has no slope left."""

from __future__ import annotations

from torch import Tensor

from trainability.doctor.measure.attention_axes import attention_weights
from trainability.doctor.measure.nodes import shape_at, wrapped

_FEWEST_KEYS, _FEWEST_ROWS = 4, 32  # that a row may look at; rows
_ONE, _ROWS = 0.99, 0.4  # weight of one key; share of the rows where one key has it


def sharp_attention(loss: Tensor) -> tuple[tuple[int, ...], float] | None:
    """Look at the attention weights that a loss was computed with.

    Args:
        loss: with its graph, before it is freed.

    Returns:
        Shape of the weights, and the share of their rows in which one key of four or more has 0.99; the smallest share of all
        attention. None where it is below 0.4 anywhere, and without attention that is written by hand: products of weights from
        a softmax over products.
    """
    found: list[tuple[float, tuple[int, ...]]] = []
    for node in attention_weights(loss.grad_fn):
        shape = shape_at(node)
        weights = getattr(node, "_saved_result", None)
        if not isinstance(weights, Tensor) or not shape:
            continue
        dim = wrapped(node._saved_dim, len(shape))
        rows = weights.detach().movedim(dim, -1).reshape(-1, shape[dim])
        wide = rows[(rows > 0).sum(dim=1) >= _FEWEST_KEYS]  # a mask leaves zeros
        if len(wide) >= _FEWEST_ROWS:
            found.append((float((wide.amax(dim=1) > _ONE).double().mean()), shape))
    if not found or min(found)[0] < _ROWS:
        return None
    return min(found)[1], min(found)[0]
