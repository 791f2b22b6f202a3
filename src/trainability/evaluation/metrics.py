"""Top-k error from summed counts, so that the result does not depend on the batch size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


def ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """Rank the true class among all classes; 0 is the highest logit.

    Equal logits are ranked by class number, as in `argmax`, so that a constant predictor is right exactly as often as the first
    class occurs. A row with NaN ranks last: it is not a prediction.

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
    """Count the examples whose true class has the largest logit, and is among the five largest.

    Args:
        logits: (batch, classes) float.
        labels: (batch,) int64.
        weights: (batch,) 0 or 1; 0 for examples that do not count.

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
        top1_error: fraction of examples whose true class does not have the largest logit.
        top5_error: fraction whose true class is not among the five largest; `None` (not defined) below five classes.
        num_examples: number of examples.
    """

    loss: float
    top1_error: float
    top5_error: float | None
    num_examples: int


def errors(loss_sum: float, top1_correct: float, top5_correct: float, num_examples: int, num_classes: int) -> Errors:
    """Compute means from sums over examples."""
    return Errors(
        loss=loss_sum / num_examples,
        top1_error=1 - top1_correct / num_examples,
        top5_error=1 - top5_correct / num_examples if num_classes >= 5 else None,
        num_examples=num_examples,
    )


def chance(num_classes: int) -> Errors:
    """Return the metrics of guessing on balanced classes: ln C; 1 - 1/C; 1 - 5/C (not defined below five classes)."""
    return Errors(
        loss=math.log(num_classes),
        top1_error=1 - 1 / num_classes,
        top5_error=1 - 5 / num_classes if num_classes >= 5 else None,
        num_examples=0,
    )
