"""Weights that a forward pass makes by itself, anew each time, so that nothing can train them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.graph import parameters_behind
from trainability.doctor.measure.workspace import set_training


def made_anew(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], loss: Tensor) -> tuple[tuple[int, ...], ...]:
    """Ask whether the loss depends on parameters that are no part of the model and are others in the next pass.

    Args:
        model: runs in train mode; the caller puts modes, buffers and random state back.
        batch: what it is asked.
        forward: of (model, batch), the loss.
        loss: of a pass before, with its graph, which keeps the parameters of that pass alive.

    Returns:
        Shapes of those with two and more dimensions whose values are others, too; () where there are none, and where they are
        the same in both passes, as of another network.
    """
    own, rows = {id(p) for p in model.parameters()}, {len(t) for _, t in tensors(batch) if t.dim()}
    # What has a row per example is a change of the inputs, as of adversarial training.
    before = [p for p in parameters_behind(loss) if id(p) not in own and p.dim() > 1 and len(p) not in rows]
    if not before:
        return ()
    set_training(model, True)
    with torch.enable_grad():
        again = forward(model, batch).sum()
    kept = {id(p) for p in before}
    after = [p for p in parameters_behind(again) if id(p) not in own and p.dim() > 1 and len(p) not in rows]
    if [p.shape for p in after] != [p.shape for p in before] or any(id(p) in kept for p in after):
        return ()
    return tuple(tuple(p.shape) for p, old in zip(after, before, strict=True) if not torch.equal(p, old))
