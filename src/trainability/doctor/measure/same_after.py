"""Transitions whose two states are one and the same, as where a list keeps references to a state that goes on changing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import combinations, islice
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.instead import exchanged
from trainability.doctor.measure.randomness import generators_restored, randomness_restored, seed_torch

_FEWEST, _MOST_BATCHES = 16, 16  # examples of a batch; batches that are compared
Forward = Callable[[Any, Any], Tensor]


def same_after(model: nn.Module, batch: Any, forward: Forward, batches: Iterable[Any]) -> tuple[str, str] | None:
    """Look for two tensors of the batch that are equal in every example, of which the loss makes goals of the second.

    Args:
        model: is handed to `forward`; the caller puts modes, buffers and random state back.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.
        batches: of the training loader.

    Returns:
        Their places. None where the loss has a slope by both, as by an input and a target that is the same, where it does not
        go by each, where no other number of each example counts, such as a reward, and where one example differs.
    """
    named = list(tensors(batch))
    rows = [(p, t) for p, t in named if t.is_floating_point() and t.dim() > 1 and len(t) >= _FEWEST and t[0].numel() > 1]
    pairs = [(a, b) for a, b in combinations(rows, 2) if torch.equal(a[1], b[1]) and bool((a[1] != a[1][:1]).any())]
    told = [t for _, t in named if t.is_floating_point() and t.dim() > 0 and t.numel() == len(t)]
    if len(pairs) != 1 or not told:
        return None
    ((first, one), (second, other)) = pairs[0]
    own = _ask(model, batch, forward)

    def reads(given: Tensor, instead: Tensor) -> bool:
        return float(_ask(model, exchanged(batch, given, instead), forward).detach()) != float(own.detach())

    if reads(one, one.clone()) or not all(reads(t, t.roll(1, dims=0)) for t in (one, other)):
        return None
    if not any(reads(t, t + 1) for t in told if len(t) == len(one)):
        return None
    slopes = []
    for given in (one, other):
        free = given.detach().clone().requires_grad_()
        loss = _ask(model, exchanged(batch, given, free * 1), forward)
        slope = torch.autograd.grad(loss, free, allow_unused=True)[0] if loss.requires_grad else None
        slopes.append(slope is not None and bool(slope.any()))
    if sum(slopes) != 1:
        return None
    with randomness_restored(), generators_restored(batches):
        for each in islice(batches, _MOST_BATCHES):
            found = dict(tensors(each))
            if first not in found or second not in found or not torch.equal(found[first], found[second]):
                return None
    return (first, second) if slopes[0] else (second, first)


def _ask(model: nn.Module, batch: Any, forward: Forward) -> Tensor:
    with torch.enable_grad(), randomness_restored():
        seed_torch(0)
        return forward(model, batch).sum()
