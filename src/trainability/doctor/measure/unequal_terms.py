"""Terms of a loss of which some are summed over the batch and others are means: which of them its gradient goes by."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import batch_size, first_examples, halves
from trainability.doctor.measure.terms import Terms

_FEWEST = 16
_NEAR = 0.1  # of a term, by which what is drawn anew may change it

Forward = Callable[[Any, Any], Tensor]


def unequal_terms(model: nn.Module, batch: Any, forward: Forward) -> tuple[float, int] | None:
    """Compute the terms of the loss on a batch and on its halves: a sum is then the sum of both, a mean their mean.

    Args:
        model: runs as it is; the caller puts modes, buffers and random state back.
        batch: that can be cut, of 16 examples and more.
        forward: of (model, batch), the loss.

    Returns:
        The norm of the gradient of the terms that are sums over that of those that are means, by the parameters that both
        reach; and the number of examples. None where the terms are of one kind (what is the same on all three, as a penalty of
        weights, is of neither), and unless the means reach all that the sums reach, and more: a divergence or a penalty of
        codes reaches no decoder, and an error does.
    """
    size, parts = batch_size(batch), halves(batch)
    if size is None or parts is None or size < _FEWEST:
        return None
    parameters = [p for p in model.parameters() if p.requires_grad]
    first, second = (Terms.of(model, part, forward).all() for part in parts)
    whole = Terms.of(model, first_examples(batch, size // 2 * 2), forward).all()
    if not len(whole) == len(first) == len(second):
        return None
    sums: list[Tensor] = []
    means: list[Tensor] = []
    for term, a, b in zip(whole, first, second, strict=True):
        total, one, other = (float(t.detach()) for t in (term, a, b))
        if total == one == other or not all(map(math.isfinite, (total, one, other))):
            continue
        if abs(total - one - other) <= _NEAR * abs(total):
            sums.append(term)
        elif abs(total - (one + other) / 2) <= _NEAR * abs(total):
            means.append(term)
        else:
            return None
    if not sums or not means:
        return None
    of_sums, of_means = (
        torch.autograd.grad(
            torch.stack([t.flatten()[0] for t in terms]).sum(), parameters, allow_unused=True, retain_graph=True
        )
        for terms in (sums, means)
    )
    reached = [(a is not None, b is not None) for a, b in zip(of_sums, of_means, strict=True)]
    if (True, False) in reached or (False, True) not in reached:
        return None
    both = [(a, b) for a, b in zip(of_sums, of_means, strict=True) if a is not None and b is not None]
    larger, smaller = (math.sqrt(sum(float(g.double().square().sum()) for g in side)) for side in zip(*both, strict=True))
    return (larger / smaller, size) if smaller > 0 and math.isfinite(larger) else None
