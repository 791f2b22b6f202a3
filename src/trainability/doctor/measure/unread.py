"""Targets that a loss reads only where they are all the same, as behind a mask that is inverted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.instead import exchanged
from trainability.doctor.measure.randomness import randomness_restored

_FEWEST, _MOST_CHANNELS = 8, 64  # values of either kind
Forward = Callable[[Any, Any], Tensor]


def unread_targets(model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass) -> tuple[int, ...]:
    """Channels of the targets of which the loss reads one constant, and not the values that differ.

    The gradient of the loss by its targets tells what it reads. That the others do not count is asked by exchanging them among
    themselves.

    Args:
        model: runs as it is.
        batch: holds one tensor of numbers, (batch, channels, ...), that the model is not given.
        forward: of (model, batch), the loss.
        seen: the same pass.

    Returns:
        Numbers of these channels.
    """
    shown = {x.data_ptr() for x in seen.inputs if isinstance(x, Tensor)}
    found = [t for _, t in seen.batch if t.is_floating_point() and t.dim() > 1 and t.data_ptr() not in shown]
    if len(found) != 1 or not 0 < found[0].shape[1] <= _MOST_CHANNELS:
        return ()
    target = found[0].detach()
    given = target.clone().requires_grad_()

    def cost(tensor: Tensor) -> Tensor:
        with torch.enable_grad(), randomness_restored():
            torch.manual_seed(0)
            return forward(model, exchanged(batch, found[0], tensor)).sum()

    loss = cost(given)
    (slope,) = torch.autograd.grad(loss, given, allow_unused=True) if loss.requires_grad else (None,)
    if slope is None:
        return ()
    told: list[int] = []
    for channel in range(target.shape[1]):
        values, read = target[:, channel], slope[:, channel] != 0
        used, unused = values[read], values[~read]
        if min(len(used), len(unused)) < _FEWEST or bool((used != used[0]).any()) or not _differ(unused):
            continue
        moved = target.clone()
        moved[:, channel][~read] = unused.roll(len(unused) // 2).flip(0)
        if float(cost(moved).detach()) == float(cost(target).detach()):
            told.append(channel)
    return tuple(told)


def _differ(values: Tensor) -> bool:
    """Whether there are several values, and not one beside a filler."""
    return len(values.unique()) > 3
