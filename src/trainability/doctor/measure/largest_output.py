"""A loss of each example's largest output alone, beside whole numbers that would choose one, as an action does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.instead import exchanged
from trainability.doctor.measure.loss_number import seeded_loss
from trainability.doctor.measure.one_target import may_choose
from trainability.doctor.measure.randomness import randomness_restored, seed_torch

_FEWEST = 8  # examples
_CLEAR = 0.9  # share of the examples
Forward = Callable[[Any, Any], Tensor]


def largest_output(model: nn.Module, batch: Any, forward: Forward) -> tuple[int, str] | None:
    """Look for outputs of which the loss goes by the largest, in a batch of transitions whose actions nothing reads.

    Args:
        model: is handed to `forward`; it, or a part of it, is called with gradients. The caller puts modes, buffers and random
            state back.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.

    Returns:
        The outputs of an example, and the place of the numbers. None where the batch has no two tensors of one form of which
        the loss reads both and one alone is given with gradients (what was, and what came of it), where the outputs that have a
        gradient are not each example's largest, and where the numbers are read.
    """
    named = list(tensors(batch))
    size = len(named[0][1]) if named and named[0][1].dim() else 0
    if size < _FEWEST or not any(may_choose(t, size, size) for _, t in named):
        return None
    loss, outputs = _of_other_outputs(model, batch, forward, size)
    if not outputs or not loss.requires_grad:
        return None
    slopes = torch.autograd.grad(loss, outputs, allow_unused=True)
    taken = [(o, slope) for o, slope in zip(outputs, slopes, strict=True) if slope is not None and bool(slope.any())]
    if len(taken) != 1 or not _of_the_largest(*taken[0]):
        return None
    width, own = taken[0][0].shape[1], seeded_loss(model, batch, forward)
    if seeded_loss(model, batch, forward) != own:
        return None

    def reads(given: Tensor, other: Tensor) -> bool:
        return seeded_loss(model, exchanged(batch, given, other), forward) != own

    choices = [(place, t) for place, t in named if may_choose(t, size, width)]
    unread = [(place, t) for place, t in choices if not reads(t, width - 1 - t) and not reads(t, t.roll(1, dims=0))]
    forms: dict[Any, list[Tensor]] = {}
    for _, t in named:
        if not any(t is choice for _, choice in unread) and t.dim() and len(t) == size:
            forms.setdefault((tuple(t.shape[1:]), t.dtype), []).append(t)
    is_told = any(t.is_floating_point() and t.numel() == size and reads(t, t + 1) for _, t in named)  # what an action earned
    is_followed = any(len(form) > 1 and all(reads(t, t.roll(1, dims=0)) for t in form[:2]) for form in forms.values())
    return (width, unread[0][0]) if unread and is_told and is_followed else None


def _of_the_largest(output: Tensor, slope: Tensor) -> bool:
    """Whether each example has one output with a gradient, which is its largest."""
    used = slope != 0
    rows = used.any(dim=1)
    alone = bool((used.sum(dim=1)[rows] == 1).all()) and float(rows.float().mean()) >= _CLEAR
    return alone and torch.equal(used[rows].float().argmax(dim=1), output.detach()[rows].argmax(dim=1))


def _of_other_outputs(model: nn.Module, batch: Any, forward: Forward, size: int) -> tuple[Tensor, list[Tensor]]:
    """The loss of random numbers in the place of what the model, or a part that the step calls, returns with gradients."""
    found: list[Tensor] = []
    depth, rng = 0, torch.Generator().manual_seed(0)

    def enter(module: nn.Module, args: Any) -> None:
        nonlocal depth
        depth += 1

    def leave(module: nn.Module, args: Any, output: Any) -> Any:
        nonlocal depth
        depth -= 1
        if depth or not isinstance(output, Tensor) or not output.requires_grad or output.dim() != 2 or len(output) != size:
            return output
        found.append(torch.randn(output.shape, generator=rng).to(output).requires_grad_())
        return found[-1] * 1

    hooks = ((m.register_forward_pre_hook(enter), m.register_forward_hook(leave, always_call=True)) for m in model.modules())
    handles = [handle for both in hooks for handle in both]
    try:
        with torch.enable_grad(), randomness_restored():
            seed_torch(0)
            return forward(model, batch).sum(), [o for o in found if o.shape[1] > 1]
    finally:
        for handle in handles:
            handle.remove()
