"""`confirm` for a run of this package, from its configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from trainability import faults
from trainability.checking.confirm import experimented
from trainability.checking.run import assembled
from trainability.config import RunConfig
from trainability.data.packed import Progress
from trainability.doctor import Diagnosis
from trainability.doctor.experiments import battery
from trainability.doctor.setup import Setup
from trainability.training.parts import TrainingParts, assemble


def confirm_config(
    config: RunConfig,
    *,
    seconds: float = 60.0,
    max_steps: int = 120,
    progress: Progress | None = None,
    trying: battery.Progress | None = None,
) -> Diagnosis:
    """Check a run, then change one thing at a time in copies of it. Nothing is written.

    The copies are stepped at the configuration's full rate: a schedule hardly changes it in as many steps, and the steps of a
    warm-up would say little of what comes after.

    Args:
        config: complete.
        seconds: as for `confirm`.
        max_steps: as for `confirm`.
        progress: called with the progress of packing, if the data set has to be packed first.
        trying: called with the change that is tried, its number, and how many there are.

    Raises:
        ValueError: as `check_config`, or a number is too small.
    """
    with assembled(config, num_images=max_steps * config.optim.batch_size, progress=progress) as look:
        before = look.diagnosis()
        setup = _setup(look.parts, look.config, look.planned_steps)

        def again() -> Setup:
            other = dataclasses.replace(look.config, run=dataclasses.replace(look.config.run, seed=look.config.run.seed + 1))
            parts = faults.install(assemble(other, look.engine, data=look.parts.data), other)
            return _setup(parts, other, look.planned_steps)

        return experimented(before, setup, make=again, seconds=seconds, max_steps=max_steps, progress=trying)


class _Batches:
    """The images and labels of each step of the first epoch, as the loop gets them."""

    def __init__(self, parts: TrainingParts) -> None:
        self.parts = parts

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for step in self.parts.loader.steps(0):
            micro_batches = list(step)
            yield torch.cat([m.images for m in micro_batches]), torch.cat([m.labels for m in micro_batches])


def _setup(parts: TrainingParts, config: RunConfig, planned_steps: int) -> Setup:
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
