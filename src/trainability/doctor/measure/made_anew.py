"""Weights that a forward pass makes by itself, anew each time, so that nothing can train them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.graph import parameters_behind
from trainability.doctor.measure.workspace import set_training

_NEAR = 0.5  # of a weight's norm; two draws are 1.4 apart


def made_anew(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], loss: Tensor) -> tuple[tuple[int, ...], ...]:
    """Ask whether the loss depends on parameters that are no part of the model and are others in the next pass.

    Args:
        model: runs in train and in eval mode; the caller puts modes, buffers and random state back.
        batch: what it is asked.
        forward: of (model, batch), the loss.
        loss: of a pass before, with its graph, which keeps the parameters of that pass alive.

    Returns:
        Shapes of those with two and more dimensions whose values are others, too; () where there are none, and where they are
        the same in both passes, as of another network, or made in train mode alone, as of an augmentation, or copies of the
        model's own that were trained a little, as of a client or an inner loop.
    """
    held, rows = list(model.parameters()), {len(t) for _, t in tensors(batch) if t.dim()}
    own = {id(p) for p in held}

    def is_copy(made: Tensor) -> bool:
        alike = [p.detach() for p in held if p.shape == made.shape]
        return any(float((made.detach() - p).norm()) < _NEAR * float(p.norm()) for p in alike)

    def strangers(loss: Tensor) -> list[nn.Parameter]:
        # What has a row per example is a change of the inputs, as of adversarial training.
        found = [p for p in parameters_behind(loss) if id(p) not in own and p.dim() > 1 and len(p) not in rows]
        return [p for p in found if not is_copy(p)]

    def asked_again(*, training: bool) -> list[nn.Parameter]:
        set_training(model, training)
        with torch.enable_grad():
            return strangers(forward(model, batch).sum())

    before = strangers(loss)
    if not before:
        return ()
    kept, after = {id(p) for p in before}, asked_again(training=True)
    if [p.shape for p in after] != [p.shape for p in before] or any(id(p) in kept for p in after):
        return ()
    if len(asked_again(training=False)) < len(after):
        return ()
    return tuple(tuple(p.shape) for p, old in zip(after, before, strict=True) if not torch.equal(p, old))
