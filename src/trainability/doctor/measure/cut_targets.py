"""A loss whose part with the targets has no gradient, beside another part that has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.instead import Returned, exchanged, loss_of, returned_once
from trainability.doctor.measure.randomness import randomness_restored, seed_torch

_FEWEST = 8  # examples
_STEP = 0.05  # of the outputs' size
_DIFFERENT = 0.05  # of the loss's change along the same way, between targets

Forward = Callable[[Any, Any], Tensor]


def cut_from_targets(model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass) -> bool:
    """Whether the gradient is the same for all targets, while the loss, as it is measured, falls another way for each.

    A distance that is a sum of absolute values has the same gradient for all targets on one side, and falls as it says.

    Args:
        model: called once; runs as it is.
        batch: what it is asked.
        forward: of (model, batch), the loss.
        seen: the same pass.
    """
    target = seen.target()
    if target is None or target.dim() < 1 or len(target) < _FEWEST or bool((target == target[:1]).all()):
        return False
    own = returned_once(model, batch, forward)
    if own is None or len(own.tensors) != 1 or not own.tensors[0].is_floating_point():
        return False
    order = torch.randperm(len(target), generator=torch.Generator().manual_seed(0)).to(target.device)
    asked = [batch, *(exchanged(batch, target, other) for other in (target[order], target[:1].expand_as(target).clone()))]
    looks = [_slope(model, each, forward, own) for each in asked]
    slope = looks[0]
    if slope is None or not all(other is not None and torch.equal(slope, other) for other in looks):
        return False
    output = own.tensors[0]
    size = float(output.double().square().mean().sqrt())
    move = _STEP * max(size, 1e-3) * torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output)
    found = []
    for each in asked:
        ahead, behind = (_loss(model, each, forward, own, output + sign * move) for sign in (1, -1))
        found.append(ahead - behind)
    return max(found) - min(found) > _DIFFERENT * max(map(abs, found)) and _trains(model, batch, forward)


def _trains(model: nn.Module, batch: Any, forward: Forward) -> bool:
    """Whether a parameter has a gradient: a loss that is cut off from all of them is another mistake."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    with torch.enable_grad(), randomness_restored():
        seed_torch(0)
        loss = forward(model, batch).sum()
    found = torch.autograd.grad(loss, parameters, allow_unused=True) if parameters and loss.requires_grad else ()
    return any(gradient is not None for gradient in found)


def _slope(model: nn.Module, batch: Any, forward: Forward, own: Returned) -> Tensor | None:
    """The gradient at the output; zeros where the loss is not connected to it, None of a loss without any, and of no slope."""
    given = own.tensors[0].clone().requires_grad_()
    loss = loss_of(model, batch, forward, own, [given])
    if not loss.requires_grad:
        return None
    found = torch.autograd.grad(loss, given, allow_unused=True)[0]
    if found is None:
        return torch.zeros_like(given)
    return found if bool(found.any()) else None  # a function without a slope, as round(), is another mistake


def _loss(model: nn.Module, batch: Any, forward: Forward, own: Returned, output: Tensor) -> float:
    return float(loss_of(model, batch, forward, own, [output]).detach())
