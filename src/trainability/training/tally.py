"""Sums over the examples of each step, held on the device and read with one copy per log interval."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainability.evaluation.metrics import correct_counts
from trainability.training.engine import Engine

_LOSS, _TOP1, _TOP5, _NORM, _BAD = range(5)


@dataclass(frozen=True, kw_only=True)
class StepSums:
    """Sums over the examples of one step, over all processes.

    Attributes:
        loss_sum: cross-entropy in nats.
        top1_correct: examples whose true class has the largest logit.
        top5_correct: examples whose true class is among the five largest logits.
        gradient_norm: of the mean loss's gradient, before clipping.
        is_finite: whether loss and norm were finite in this and all earlier steps.
        micro_batches: backward passes of the step, in this process.
    """

    loss_sum: float
    top1_correct: float
    top5_correct: float
    gradient_norm: float
    is_finite: bool
    micro_batches: int


class Tally:
    """A table on the device, one row per step since the last read."""

    def __init__(self, engine: Engine, capacity: int) -> None:
        """Make an empty table.

        Args:
            engine: device and processes.
            capacity: most steps between two reads.
        """
        self.engine = engine
        self.rows = torch.zeros(capacity, 5, dtype=torch.float64, device=engine.device)
        self.num_steps = 0
        self.micro_batches = [0]

    @torch.no_grad()
    def add(self, losses: Tensor, logits: Tensor, labels: Tensor, weights: Tensor) -> None:
        """Add a micro-batch to the current step.

        Args:
            losses: (batch,) float, weighted.
            logits: (batch, classes).
            labels: (batch,) int64.
            weights: (batch,) 0 or 1.
        """
        self.micro_batches[-1] += 1
        row = self.rows[self.num_steps]
        row[_LOSS].add_(losses.sum(dtype=torch.float64))
        row[_TOP1 : _TOP5 + 1].add_(correct_counts(logits, labels, weights))

    @property
    def loss_sum(self) -> Tensor:
        """This process's part of the current step's loss, on the device."""
        return self.rows[self.num_steps, _LOSS]

    def close_step(self, norm: Tensor, bad: Tensor) -> None:
        """Close a step with its gradient norm and the guard's flag."""
        self.rows[self.num_steps, _NORM] = norm
        self.rows[self.num_steps, _BAD] = bad
        self.num_steps += 1
        self.micro_batches.append(0)

    def read(self) -> list[StepSums]:
        """Copy the closed steps to the host, summed over all processes, and empty the table. Waits for the device."""
        rows = self.rows[: self.num_steps]
        self.engine.total(rows)
        world_size = self.engine.world_size
        steps = [
            StepSums(
                loss_sum=row[_LOSS],
                top1_correct=row[_TOP1],
                top5_correct=row[_TOP5],
                gradient_norm=row[_NORM] / world_size,  # every process has the norm of the full gradient
                is_finite=row[_BAD] == 0,
                micro_batches=micro_batches,
            )
            for row, micro_batches in zip(rows.tolist(), self.micro_batches[:-1], strict=True)
        ]
        self.rows.zero_()
        self.num_steps = 0
        self.micro_batches = [0]
        return steps
