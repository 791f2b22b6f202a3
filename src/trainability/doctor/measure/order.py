"""The order of the labels in a loader, or in a loop: classes mixed, sorted, or the same batch again and again."""

import torch
from torch import Tensor

from trainability.doctor.audit_results import BatchOrder


class OrderCounter:
    """Counts batch by batch, in the order in which they come."""

    def __init__(self) -> None:
        self._labels: list[Tensor] = []
        self._before: list[int] = []
        self._one_class = self._repeated = 0

    def add(self, labels: Tensor, hashes: list[int]) -> None:
        """Count one batch.

        Args:
            labels: (batch,) class indices.
            hashes: of its examples.
        """
        self._one_class += len(labels) > 1 and bool((labels == labels[0]).all())
        self._repeated += bool(hashes) and hashes == self._before
        self._before = hashes
        self._labels.append(labels)

    def result(self) -> BatchOrder | None:
        """What was counted; None if nothing was."""
        if not self._labels:
            return None
        joined = torch.cat(self._labels)
        counts = torch.unique(joined, return_counts=True)[1].double()
        share = counts / counts.sum()
        return BatchOrder(
            num_batches=len(self._labels),
            batch_size=len(self._labels[0]),
            num_examples=len(joined),
            num_classes=len(counts),
            one_class_batches=self._one_class,
            changes=int((joined[1:] != joined[:-1]).sum()),
            expected_changes=float((len(joined) - 1) * (1 - share.square().sum())),
            repeated_batches=self._repeated,
        )


def classes_in_gradient(gradient: Tensor) -> Tensor:
    """Read the targets of a cross-entropy off the gradient of its logits, which is softmax minus one at the target.

    Args:
        gradient: (examples, classes), of a mean. Rows near zero, of examples that are ignored or known, tell nothing.

    Returns:
        (3,), on the device: examples that tell, different targets among them, and the target of the first; zeros where a row
        has not exactly one value below zero, or does not sum to zero.
    """
    rows = gradient.detach().float()
    size = rows.abs().sum(dim=1)
    tells = size > 1e-4 / len(rows)  # below, what is left of one minus the probability is rounding
    fits = ((rows < 0).sum(dim=1) == 1) & (rows.sum(dim=1).abs() <= 1e-3 * size)
    targets = rows.argmin(dim=1)
    # A column for each class, and one for the examples that do not tell.
    counts = torch.zeros(rows.shape[1] + 1, device=rows.device)
    counts.scatter_(0, torch.where(tells, targets, rows.shape[1]), 1.0)
    told = torch.stack([tells.sum(), counts[:-1].sum(), targets[tells.int().argmax()]]).float()
    return told * (fits | ~tells).all()
