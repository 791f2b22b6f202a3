"""Edges of a graph that bring no message to any node that the loss counts, as where each is listed in one direction only."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.instead import exchanged
from trainability.doctor.measure.randomness import randomness_restored, seed_torch

_FEWEST = 16  # edges
_CHANGES = 1e-4  # of the loss, with the edges in the other direction

Forward = Callable[[Any, Any], Tensor]


def edges_lead_away(model: nn.Module, batch: Any, forward: Forward) -> tuple[int, float] | None:
    """Compute the loss without edges, and with each edge in the other direction.

    Args:
        model: runs as it is; dropout is off.
        batch: holds one tensor (2, edges) of whole numbers, and rows of numbers for as many nodes as these name.
        forward: of (model, batch), the loss.

    Returns:
        The number of edges, and by how much the loss changes with them in the other direction, over its size. None where the
        loss is another one without edges, to the last bit, or the same with reversed ones: then the model reads none.
    """
    held = [t for _, t in tensors(batch) if t.layout == torch.strided]
    edges = [
        t for t in held if t.dim() == 2 and len(t) == 2 and t.shape[1] >= _FEWEST and t.dtype in (torch.int32, torch.int64)
    ]
    if len(edges) != 1 or bool((edges[0] < 0).any()):
        return None
    (listed,) = edges
    nodes = int(listed.max()) + 1
    if not any(t.is_floating_point() and t.dim() == 2 and len(t) >= nodes for t in held):
        return None

    def asked(other: Tensor) -> float:
        with torch.no_grad(), randomness_restored():
            seed_torch(0)
            return float(forward(model, exchanged(batch, listed, other)).sum())

    own = asked(listed.clone())
    if not math.isfinite(own) or own != asked(listed.clone()) or own != asked(listed[:, :0].clone()):
        return None
    change = abs(asked(listed.flip(0)) - own) / max(abs(own), 1e-12)
    return (listed.shape[1], change) if math.isfinite(change) and change > _CHANGES else None
