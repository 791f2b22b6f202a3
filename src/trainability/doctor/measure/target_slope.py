"""Targets of a temporal difference that a network makes of the next state, through which its gradient goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.modules.module as module_hooks
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.global_hooks import on_every_call
from trainability.doctor.measure.instead import exchanged
from trainability.doctor.measure.randomness import randomness_restored, seed_torch

_FEWEST = 8  # examples with a gradient
_LEAST, _SAME = 0.5, 1e-3  # discount; of the slopes

Forward = Callable[[Any, Any], Tensor]


def target_slope(model: nn.Module, batch: Any, forward: Forward) -> float | None:
    """Look for values of two states by one network, where the loss is one of value - (reward + discount * next value).

    Args:
        model: that is called as a whole, or a part of it; the caller puts modes, buffers and random state back.
        batch: that holds both states and the reward.
        forward: of (model, batch), the loss.

    Returns:
        The discount, where each example's slopes of the loss in reward, value and next value are as 1, -1 and the discount, or
        0 at an end; None elsewhere, where the next value has no gradient, and of a discount of 1 without an end, as differences
        of two outputs have that are to be a third number.
    """
    own = [t for _, t in tensors(batch) if t.is_floating_point()]
    states = [t for t in own if t.dim() > 1]
    for reward in (t for t in own if t.dim() > 0 and t.numel() == len(t) >= _FEWEST):
        leaf = reward.detach().clone().requires_grad_()
        made = _made(model, exchanged(batch, reward, leaf), forward, [t for t in states if t is not reward])
        if made is None:
            return None
        loss, (first, after) = made
        slopes = torch.autograd.grad(loss, [first, after, leaf], allow_unused=True)
        if slopes[0] is None or slopes[1] is None or slopes[2] is None:
            continue
        for a, b in ((0, 1), (1, 0)):
            found = _discount(*(slopes[k].reshape(len(reward), -1).sum(dim=1).double() for k in (a, b, 2)))
            if found is not None:
                return found
    return None


def _made(model: nn.Module, batch: Any, forward: Forward, states: list[Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]] | None:
    """The loss, and what one network makes, with a gradient, of two tensors of the batch of one shape."""
    calls: list[tuple[nn.Module, Tensor, Tensor]] = []
    depth = 0

    def enter(module: nn.Module, args: Any) -> None:
        nonlocal depth
        depth += 1

    def leave(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        nonlocal depth
        depth -= 1
        given = next((t for t in states if args and args[0] is t), None)
        if depth == 0 and given is not None and isinstance(output, Tensor) and output.requires_grad:
            calls.append((module, given, output))

    handles = [on_every_call(leave), module_hooks.register_module_forward_pre_hook(enter)]
    try:
        with torch.enable_grad(), randomness_restored():
            seed_torch(0)
            loss = forward(model, batch).sum()
    finally:
        for handle in handles:
            handle.remove()
    if len(calls) != 2 or calls[0][0] is not calls[1][0] or calls[0][1] is calls[1][1]:
        return None
    one, other = calls[0][2], calls[1][2]
    return (loss, (one, other)) if one.shape == other.shape and calls[0][1].shape == calls[1][1].shape else None


def _discount(value: Tensor, after: Tensor, reward: Tensor) -> float | None:
    counts = value.abs() > _SAME * value.abs().max()
    if int(counts.sum()) < _FEWEST or float((value + reward).norm()) > _SAME * float(value.norm()):
        return None
    ratios = -after[counts] / value[counts]
    discount = float(ratios.max())
    at_end, goes_on = ratios.abs() <= _SAME, (ratios - discount).abs() <= _SAME
    if not bool((at_end | goes_on).all()) or not _LEAST <= discount <= 1 + _SAME or int(goes_on.sum()) < _FEWEST:
        return None
    return min(discount, 1.0) if discount < 1 - _SAME or bool(at_end.any()) else None
