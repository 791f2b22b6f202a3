"""Top-k error from summed counts, so that the result cannot depend on how the data was batched."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


def ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """Rank the true class among all classes, 0 for the best.

    Equal logits are ranked by class number, as `argmax` does, so that a constant predictor is right exactly as often as the
    first class occurs. A row with a NaN ranks last: it is no prediction.

    Args:
        logits: (batch, classes) float.
        labels: (batch,) int64.

    Returns:
        (batch,) int64 in [0, classes].
    """
    own = logits.gather(1, labels[:, None])
    classes = torch.arange(logits.shape[1], device=logits.device)
    before = (logits > own) | ((logits == own) & (classes < labels[:, None]))
    return torch.where(logits.isnan().any(1), logits.shape[1], before.sum(1))


def correct_counts(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Count the examples whose true class is the first, and among the first five.

    Args:
        logits: (batch, classes) float.
        labels: (batch,) int64.
        weights: (batch,) 0 or 1; examples that do not count have 0.

    Returns:
        (2,) float64.
    """
    place = ranks(logits, labels)
    correct = torch.stack([place < 1, place < 5], 1).double()
    return correct.sum(0) if weights is None else (correct * weights[:, None]).sum(0)


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Means over examples. Errors in [0, 1].

    Attributes:
        loss: mean cross-entropy in nats.
        top1_error: share of examples whose true class is not the first.
        top5_error: share whose true class is not among the first five; `None`, not defined, below five classes.
        num_examples: that were counted.
    """

    loss: float
    top1_error: float
    top5_error: float | None
    num_examples: int


def errors(loss_sum: float, top1_correct: float, top5_correct: float, num_examples: int, num_classes: int) -> Errors:
    """Turn sums over examples into means."""
    return Errors(
        loss=loss_sum / num_examples,
        top1_error=1 - top1_correct / num_examples,
        top5_error=1 - top5_correct / num_examples if num_classes >= 5 else None,
        num_examples=num_examples,
    )


def chance(num_classes: int) -> Errors:
    """Say what guessing scores on balanced classes: ln C; 1 - 1/C; 1 - 5/C (not defined below five classes)."""
    return Errors(
        loss=math.log(num_classes),
        top1_error=1 - 1 / num_classes,
        top5_error=1 - 5 / num_classes if num_classes >= 5 else None,
        num_examples=0,
    )
