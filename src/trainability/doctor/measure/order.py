"""The order of the labels in a loader: classes mixed, sorted, or the same batch again and again."""

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
