"""Terms of a loss that it wants to be large, though they are never below zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.graph import positive_losses


def maximised(leaves: list[Any], loss: Tensor, seen: ForwardPass) -> str | None:
    """The loss without values below zero of which more lowers the whole.

    Args:
        leaves: with a gradient, which the whole depends on.
        loss: the whole, with its graph.
        seen: the pass that made it.

    Returns:
        Its name in PyTorch's words; None where any such term is to be small.
    """
    if float(loss.detach()) >= 0:
        return None
    terms, found = positive_losses(loss), []
    if seen.terms:
        slopes = torch.autograd.grad(loss, [term for _, term in seen.terms], allow_unused=True, retain_graph=True)
        found = [(name, bool(g <= 0)) for (name, _), g in zip(seen.terms, slopes, strict=True) if g is not None]

    def look_at(name: str) -> Callable[[Any], None]:
        return lambda gradients: found.append((name, all(bool((g <= 0).all()) for g in gradients if g is not None)))

    handles = [node.register_prehook(look_at(name)) for node, name in terms]
    try:
        if handles:
            torch.autograd.grad(loss, leaves, allow_unused=True, retain_graph=True)
    finally:
        for handle in handles:
            handle.remove()
    return found[0][0] if found and all(negative for _, negative in found) else None
