"""Whether what a loss broadcasts against the outputs has as many rows as the batch by its nature, or by chance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import batch_size, first_examples
from trainability.doctor.facts import Facts
from trainability.doctor.measure.forward_pass import ForwardPass


def broadcast_shape(
    model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], known: Facts
) -> dict[str, tuple[int, ...] | None]:
    """Ask again with one example less: targets are one less, too, and fixed centres, bins or times are as many as before.

    Args:
        model: runs once more.
        batch: what was looked at.
        forward: of (model, batch), the loss.
        known: the facts from the whole batch.

    Returns:
        The field of `Facts`: as it was, where the smaller batch is broadcast as well or cannot be asked; else None.
    """
    size = batch_size(batch)
    if known.broadcast_shape is None or size is None or size < 3:
        return {}
    smaller = first_examples(batch, size - 1)
    if batch_size(smaller) != size - 1:
        return {}
    again = ForwardPass(model, smaller)
    with torch.enable_grad(), again:
        forward(model, smaller)
    return {} if again.facts()["broadcast_shape"] is not None else {"broadcast_shape": None}
