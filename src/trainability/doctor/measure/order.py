"""The order of the labels in a loader, or in a loop: classes mixed, sorted, or the same batch again and again."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset

from trainability.doctor.audit_results import BatchOrder

_NEAR = 5e-3  # of 0 and 1, for marks that are told within rounding
_EVEN = 0.02  # by which the share of a class in a batch may be off its share of all
_SAME = 1e-3  # of the loss, from which the one computed anew may differ


class OrderCounter:
    """Counts batch by batch, in the order in which they come.

    Args:
        loader: that they come from.
    """

    def __init__(self, loader: Any) -> None:
        self._is_stream = isinstance(loader, DataLoader) and isinstance(loader.dataset, IterableDataset)
        self._stream_workers = loader.num_workers if self._is_stream and loader.num_workers > 1 else None
        self._labels: list[Tensor] = []
        self._before: tuple[list[int], Tensor] = [], torch.empty(0)
        self._one_class = self._repeated = 0

    def add(self, labels: Tensor, hashes: list[int]) -> None:
        """Count one batch.

        Args:
            labels: (batch,) class indices.
            hashes: of its examples.
        """
        self._one_class += len(labels) > 1 and bool((labels == labels[0]).all())
        # Inputs of zeros are the same in every batch, and their labels are not.
        self._repeated += bool(hashes) and hashes == self._before[0] and torch.equal(labels, self._before[1])
        self._before = hashes, labels
        self._labels.append(labels)

    def result(self) -> BatchOrder | None:
        """What was counted; None if nothing was."""
        if not self._labels:
            return None
        joined = torch.cat(self._labels)
        classes, counts = torch.unique(joined, return_counts=True)
        share = counts.double() / counts.sum()
        return BatchOrder(
            num_batches=len(self._labels),
            batch_size=len(self._labels[0]),
            num_examples=len(joined),
            num_classes=len(counts),
            one_class_batches=self._one_class,
            changes=int((joined[1:] != joined[:-1]).sum()),
            expected_changes=float((len(joined) - 1) * (1 - share.square().sum())),
            repeated_batches=self._repeated,
            balanced_batches=sum(_is_balanced(labels, classes, share) for labels in self._labels),
            stream_workers=self._stream_workers,
            is_stream=self._is_stream,
        )


def _is_balanced(labels: Tensor, classes: Tensor, share: Tensor) -> bool:
    """Whether a batch has as many examples of each class that is in it, or of each its share of all that were read."""
    counts = torch.unique(labels, return_counts=True)[1]
    if not 1 < len(counts) < len(labels):
        return False
    held = (labels[:, None] == classes).double().mean(dim=0)
    return bool((counts == counts[0]).all()) or float((held - share).abs().max()) <= _EVEN


def classes_in_gradient(gradient: Tensor) -> Tensor:
    """Read the targets of a cross-entropy off the gradient of its logits, which is softmax minus one at the target.

    The gradient of log-probabilities under the negative log-likelihood has one number, below zero, at each target.

    Args:
        gradient: (examples, classes), of a mean. Rows near zero, of examples that are ignored or known, tell nothing.

    Returns:
        (3,), on the device: examples that tell, different targets among them, and the target of the first; zeros where a row
        has not exactly one value below zero, or neither sums to zero nor is zero elsewhere.
    """
    rows = gradient.detach().float()
    size = rows.abs().sum(dim=1)
    tells = size > 1e-4 / len(rows)  # below, what is left of one minus the probability is rounding
    # Of a mean over examples all are alike; of what is weighed by an outcome, as by a reward, they are not.
    is_alone = ((rows != 0).sum(dim=1) == 1) & (size >= (1 - 1e-3) * size.amax())
    fits = ((rows < 0).sum(dim=1) == 1) & ((rows.sum(dim=1).abs() <= 1e-3 * size) | is_alone)
    targets = rows.argmin(dim=1)
    # A column for each class, and one for the examples that do not tell.
    counts = torch.zeros(rows.shape[1] + 1, device=rows.device)
    counts.scatter_(0, torch.where(tells, targets, rows.shape[1]), 1.0)
    told = torch.stack([tells.sum(), counts[:-1].sum(), targets[tells.int().argmax()]]).float()
    return told * (fits | ~tells).all()


def marks_in_gradient(output: Tensor, gradient: Tensor, loss: Tensor | float) -> Tensor:
    """Read yes and no off the gradient of one number an example, under binary cross-entropy with or without logits.

    Args:
        output: as many numbers as examples.
        gradient: of the loss, for the outputs; that of a mean over all of them.
        loss: computed anew from what is read, it must be the same.

    Returns:
        (3,), as `classes_in_gradient`; zeros where it is no such loss.
    """
    values, slopes = output.detach().float().flatten(), gradient.detach().float().flatten() * output.numel()
    loss = torch.as_tensor(loss, device=values.device).detach().float()
    shares = values.sigmoid()
    logits = _marks(shares - slopes, lambda marks: F.binary_cross_entropy_with_logits(values, marks), loss)
    inside = values.clamp(0, 1)
    plain = _marks(inside - slopes * inside * (1 - inside), lambda marks: F.binary_cross_entropy(inside, marks), loss)
    return torch.where((logits[0] > 0) | ((values < 0) | (values > 1)).any(), logits, plain)


def _marks(told: Tensor, cost: Callable[[Tensor], Tensor], loss: Tensor) -> Tensor:
    marks = told.round().clamp(0, 1)
    fits = ((told - marks).abs().amax() < _NEAR) & ((cost(marks) - loss).abs() <= _SAME * loss.abs())
    several = 1 + (marks.amin() != marks.amax())
    return torch.stack([torch.full_like(several, len(marks)), several, marks[0]]).float() * fits
