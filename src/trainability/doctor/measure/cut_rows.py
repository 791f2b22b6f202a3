"""Units of a layer that the loss goes by, and hands no gradient back to, though it does to others of the layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.randomness import randomness_restored, seed_torch

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_MOST_LAYERS = 64
_MOVE = 1e-2  # of the weights' size: few choices change with it, and every smooth function does
_TELLING = 1e-5  # change of the loss, over the loss
_AS_A_LINE = 0.2  # how far what a move does may be off twice what half of it does, and off minus that of its opposite

Forward = Callable[[Any, Any], Tensor]


def cut_rows(model: nn.Module, batch: Any, forward: Forward) -> tuple[str, int, int] | None:
    """Find units whose weights' gradient is exactly zero, and which the loss changes smoothly with.

    Args:
        model: as in the loop, in train mode.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.

    Returns:
        The weight's name, how many of its units (rows) are so, and of how many; of several layers the last. None where the loss
        does not change with such units (a dead one, one that is masked), or by jumps (one that is chosen by), or not the same
        way twice.
    """
    layers = {
        name: m
        for name, m in model.named_modules()
        if isinstance(m, _LAYERS) and m.weight.requires_grad and not nn.utils.parametrize.is_parametrized(m)
    }
    if not 0 < len(layers) <= _MOST_LAYERS:
        return None
    with torch.enable_grad(), randomness_restored():
        seed_torch(0)
        loss = forward(model, batch).sum()
        slopes = torch.autograd.grad(loss, [m.weight for m in layers.values()], allow_unused=True)
    for (name, layer), slope in reversed(list(zip(layers.items(), slopes, strict=True))):
        if slope is None or not bool(slope.isfinite().all()):
            continue
        still = ~(slope != 0).flatten(1).any(dim=1)
        if bool(still.any()) and not bool(still.all()) and _goes_by(model, batch, forward, layer.weight, still):
            return f"{name}.weight" if name else "weight", int(still.sum()), len(still)
    return None


def _goes_by(model: nn.Module, batch: Any, forward: Forward, weight: Tensor, still: Tensor) -> bool:
    """Whether the loss changes with these rows as a smooth function does: half as much, or the other way, as they do."""
    kept, rows = weight.data, still.view(-1, *[1] * (weight.dim() - 1))
    drawn = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)).to(weight)
    move = drawn * rows * (kept.float().square().mean().sqrt() + 1e-3)

    def ask(size: float) -> float:
        weight.data = kept + size * move  # exchanged, not written to: the graph of another pass may still be needed
        with torch.enable_grad(), randomness_restored():  # a loss may differentiate by itself
            seed_torch(0)
            return float(forward(model, batch).detach().sum())

    try:
        before, far, again = ask(0.0), ask(_MOVE), ask(0.0)
        change = far - before
        if before != again or not abs(change) > _TELLING * abs(before):
            return False
        others = (2 * (ask(_MOVE / 2) - before), before - ask(-_MOVE))
    finally:
        weight.data = kept
    return all(abs(other - change) < _AS_A_LINE * abs(change) for other in others)
