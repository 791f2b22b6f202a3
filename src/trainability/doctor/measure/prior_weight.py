"""Weights with a distribution: how often the divergence from their prior counts in a loss, beside the examples' error."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from trainability.doctor.batches import batch_size, first_examples, halves
from trainability.doctor.measure.terms import Terms

_FEWEST, _FEWEST_WEIGHTS = 16, 16
_NEAR = 0.1  # of a term, by which what is drawn anew may change it
_UNIFORM = 1e-3  # of a weight, between the parameters

Forward = Callable[[Any, Any], Tensor]


def prior_weight(model: nn.Module, batch: Any, forward: Forward, batches: Iterable[Any]) -> tuple[float, int] | None:
    """Read the weight of a divergence of the weights off the slope of the loss by the logarithms of their deviations.

    A term that depends on the weights alone is the same number for a batch and for its halves. In the divergence of a normal
    distribution from another, the logarithm of the deviation counts once, whatever the prior: its slope is minus the weight.

    Args:
        model: runs as it is; the caller puts modes, buffers and random state back.
        batch: that can be cut, of 16 examples and more.
        forward: of (model, batch), the loss.
        batches: the training loader, which knows its number of examples.

    Returns:
        How many times the divergence counts in a pass over the examples, where each example's error counts once, up to a
        factor of two where it is written by variances; and the number of examples. None where the loss has no such term.
    """
    size, parts = batch_size(batch), halves(batch)
    dataset = batches.dataset if isinstance(batches, DataLoader) else None
    examples = len(dataset) if dataset is not None and hasattr(dataset, "__len__") else 0  # type: ignore[arg-type]
    if size is None or parts is None or size < _FEWEST or examples < size:
        return None
    whole = Terms.of(model, first_examples(batch, size // 2 * 2), forward)
    first, second = (Terms.of(model, part, forward).of_loss() for part in parts)
    terms = whole.of_loss()
    if not len(terms) == len(first) == len(second) > 1 or not whole.logarithms:
        return None
    alone: list[Tensor] = []
    of_batch = set[str]()
    for term, a, b in zip(terms, first, second, strict=True):
        total, one, other = (float(t.detach()) for t in (term, a, b))
        if total == one == other:
            alone.append(term)
        elif abs(total - (one + other) / 2) <= _NEAR * abs(total):
            of_batch.add("mean")
        else:
            of_batch.add("sum" if abs(total - one - other) <= _NEAR * abs(total) else "other")
    if not alone or len(of_batch) != 1 or "other" in of_batch:
        return None
    total = torch.stack([term.flatten()[0] for term in alone]).sum()
    if not total.requires_grad:
        return None
    slopes = torch.autograd.grad(total, whole.logarithms, allow_unused=True)
    found = torch.cat([slope.flatten() for slope in slopes if slope is not None] or [torch.zeros(1)])
    weight = -float(found.mean())
    if len(found) < _FEWEST_WEIGHTS or not weight > 0 or float(found.std()) > _UNIFORM * weight:
        return None
    counted = weight * (examples if of_batch == {"mean"} else examples / size)
    return (counted, examples) if math.isfinite(counted) else None
