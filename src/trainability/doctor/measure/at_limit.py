"""Clamps at their limit for a whole batch: between outputs and loss, such as an overlap of zero, or at the outputs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.graph import behind_views
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


def held_by(returned: Iterable[Tensor]) -> str | None:
    """The clamp or hardtanh that gives a model's output, if all its inputs are beyond its limits, where it has no slope.

    Args:
        returned: by the model; if graphs are freed, numbers at a limit of 0 are left out.

    Returns:
        The call, as code: "clamp(1, 5)".
    """
    for output in returned:
        node = behind_views(output.grad_fn) if output.grad_fn is not None and output.numel() else None
        limits = _limits(node)
        if limits is None:
            continue
        low, high = limits
        values = output.detach()
        at = torch.zeros_like(values, dtype=torch.bool)
        for limit in (low, high):
            at |= values == values.new_tensor(limit) if limit is not None else False
        if bool(at.all()) and _is_beyond(node, values, low, high):
            name = "hardtanh" if name_of(node) == "HardtanhBackward" else "clamp"
            given = (f"{low:g}, {high:g}" if high is not None else f"min={low:g}") if low is not None else f"max={high:g}"
            return f"{name}({given})"
    return None


def _limits(node: Any) -> tuple[float | None, float | None] | None:
    """A node's numeric limits, stored even when its tensors are freed; None for other functions, and for tensor limits."""
    if node is None or name_of(node) not in ("ClampBackward", "ClampMinBackward", "ClampMaxBackward", "HardtanhBackward"):
        return None
    found = [getattr(node, f"_saved_{what}", getattr(node, f"_saved_{what}_val", None)) for what in ("min", "max")]
    if found == [None, None] or any(isinstance(limit, Tensor) for limit in found):
        return None
    return found[0], found[1]


def _is_beyond(node: Any, values: Tensor, low: float | None, high: float | None) -> bool:
    """Whether all inputs are beyond the limits, rather than at them already, as zeros may be."""
    try:
        given = node._saved_self.detach()
    except RuntimeError:  # freed by the backward pass
        return bool((values != 0).all())
    inside = torch.ones_like(given, dtype=torch.bool)
    inside &= given >= low if low is not None else True
    inside &= given <= high if high is not None else True
    return not bool(inside.any())
