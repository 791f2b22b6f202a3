"""Whether a clamp between outputs and loss is at its limit for a whole batch: an overlap where nothing overlaps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.nodes import name_of

_MOST_NODES = 500


def all_at_limit(loss: Tensor, seen: ForwardPass) -> bool:
    """Look at clamps and ReLUs of the loss itself, in front of what the model returns.

    Args:
        loss: with its graph, of which nothing has been freed.
        seen: the same pass.

    Returns:
        Whether one of them has a number at its limit in every row, so that a product of the row has no slope either.
    """
    ends = [tensor.grad_fn for tensor in seen.returned if tensor.grad_fn is not None]
    size = len(seen.returned[0]) if ends and seen.returned[0].dim() else 0
    found, todo = {id(node): node for node in ends}, [loss.grad_fn]
    while size > 1 and todo and len(found) < _MOST_NODES:
        node: Any = todo.pop(0)
        if node is None or id(node) in found:
            continue
        found[id(node)] = node
        todo += [above for above, _ in node.next_functions]
        at = _at_limit(node)
        if at is not None and at.dim() and len(at) == size and bool(at.reshape(size, -1).any(dim=1).all()):
            return True
    return False


def _at_limit(node: Any) -> Tensor | None:
    name = name_of(node)
    if name == "ReluBackward":
        return node._saved_result.detach() <= 0
    if name not in ("ClampBackward", "ClampMinBackward"):
        return None
    given, low, high = (getattr(node, f"_saved_{what}", None) for what in ("self", "min", "max"))
    if not isinstance(given, Tensor):
        return None
    at = torch.zeros_like(given, dtype=torch.bool)
    if low is not None:
        at |= given.detach() <= low
    return at | (given.detach() >= high) if high is not None else at
