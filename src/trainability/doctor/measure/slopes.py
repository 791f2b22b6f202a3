"""Whether the gradient that comes back is the slope of the loss, where functions of the program's own hand it on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.randomness import randomness_restored, seed_torch
from trainability.doctor.measure.workspace import set_training

Forward = Callable[[Any, Any], Tensor]
_STEP = 1e-2  # of the loss, by which a move along the gradient should change it
_NEAR = 0.1
_MOST_ASKED = 64  # parameters, with four forward passes each


def turned_gradients(model: nn.Module, batch: Any, forward: Forward) -> tuple[str, ...]:
    """Find weights whose gradient is minus the slope of the loss.

    Each is moved along its gradient, to either side, by two lengths, and the change of the loss is held against what the
    gradient says.

    Args:
        model: runs in train mode; the caller puts modes, buffers and random state back.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.

    Returns:
        Names of parameters of two and more dimensions; () where some change the loss neither as the gradient says nor the other
        way round: rounding with a slope of its own, or an adversary that part of the loss is turned for.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad and p.dim() > 1]
    if not 0 < len(named) <= _MOST_ASKED:
        return ()

    def loss() -> Tensor:
        set_training(model, True)
        with torch.enable_grad(), randomness_restored():
            seed_torch(0)
            return forward(model, batch).sum()

    own = loss()
    gradients = torch.autograd.grad(own, [p for _, p in named], allow_unused=True)
    size = abs(float(own.detach()))
    if size == 0 or float(loss().detach()) != float(own.detach()):
        return ()
    turned = []
    for (name, p), gradient in zip(named, gradients, strict=True):
        if gradient is None or not bool(gradient.any()):
            continue
        said = float(gradient.double().square().sum())
        ratios = [_change(p, gradient, share * _STEP * size / said, loss) / (2 * share * _STEP * size) for share in (1.0, 0.5)]
        if all(abs(ratio + 1) < _NEAR for ratio in ratios):
            turned.append(name)
        elif not all(abs(ratio - 1) < _NEAR for ratio in ratios):
            return ()
    return tuple(turned)


def _change(parameter: nn.Parameter, gradient: Tensor, length: float, loss: Callable[[], Tensor]) -> float:
    """The loss some way up the gradient, less that as far down."""
    kept, found = parameter.detach().clone(), []
    try:
        for sign in (1.0, -1.0):
            with torch.no_grad():
                parameter.copy_(kept).add_(gradient, alpha=sign * length)
            found.append(float(loss().detach()))
    finally:
        with torch.no_grad():
            parameter.copy_(kept)
    return found[0] - found[1]
