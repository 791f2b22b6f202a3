"""A run of this package as a `Setup`: what a program of the user's own would give."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from trainability.config import RunConfig
from trainability.doctor.setup import Setup
from trainability.training.parts import TrainingParts


class _Batches:
    """The images and labels of each step of the first epoch, as the loop gets them; can be read again."""

    def __init__(self, parts: TrainingParts) -> None:
        self.parts = parts

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for step in self.parts.loader.steps(0):
            micro_batches = list(step)
            yield torch.cat([m.images for m in micro_batches]), torch.cat([m.labels for m in micro_batches])


def setup_of_run(parts: TrainingParts, config: RunConfig, planned_steps: int) -> Setup:
    """Return network, batches, loss, optimizer and clipping of a run; sets the optimizer's rate to `optim.lr`.

    What its steps lack, and those of the run have: the schedule, the precision, micro-batches, dropout by key, and faults of
    the loop (those of data and metric are in the parts).

    Args:
        parts: what it trains with.
        config: complete.
        planned_steps: of the whole run.
    """
    for group in parts.optimizer.param_groups:
        group["lr"] = config.optim.lr
    return Setup(
        model=parts.model,
        train_loader=_Batches(parts),
        loss_fn=F.cross_entropy,
        optimizer=parts.optimizer,
        num_classes=parts.loader.num_classes,
        clip=config.optim.clip,
        planned_steps=planned_steps,
    )
