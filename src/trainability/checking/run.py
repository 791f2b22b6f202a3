"""`check` and `confirm` for a run of this package, from its configuration."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from trainability import faults
from trainability.checking.confirm import experimented
from trainability.config import RunConfig
from trainability.data import dataset
from trainability.data.loader import num_steps
from trainability.data.packed import Progress
from trainability.doctor import Diagnosis, diagnose
from trainability.doctor.experiments import battery as experiments
from trainability.doctor.measure.sizes import ENOUGH_IMAGES, audit_size
from trainability.doctor.setup import Setup
from trainability.prescribe.remedies import prescribed
from trainability.training import engine as engines
from trainability.training.parts import TrainingParts, assemble
from trainability.training.precheck import evidence_before, first_images


def check_config(config: RunConfig, *, progress: Progress | None = None) -> Diagnosis:
    """Check a run before it starts: its data, network, initialisation, optimizer and metric. Nothing is written.

    Args:
        config: complete. Only the generated images that are looked at are generated.
        progress: called with the progress of packing, if the data set has to be packed first.

    Raises:
        ValueError: `train` would refuse the configuration too.
    """
    assert config.data.crop is not None
    audited = audit_size((3, config.data.crop, config.data.crop))
    with _parts(config, audited, progress) as (parts, part, engine, planned_steps):
        return _diagnosed(parts, part, engine, planned_steps)


def confirm_config(
    config: RunConfig,
    *,
    seconds: float = 60.0,
    max_steps: int = 120,
    progress: Progress | None = None,
    trying: experiments.Progress | None = None,
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
    assert config.data.crop is not None
    wanted = max(audit_size((3, config.data.crop, config.data.crop)), max_steps * config.optim.batch_size)
    with _parts(config, wanted, progress) as (parts, part, engine, planned_steps):
        before = _diagnosed(parts, part, engine, planned_steps)
        setup = _setup(parts, part, planned_steps)

        def again() -> Setup:
            other = dataclasses.replace(part, run=dataclasses.replace(part.run, seed=part.run.seed + 1))
            return _setup(faults.install(assemble(other, engine, data=parts.data), other), other, planned_steps)

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


@contextlib.contextmanager
def _parts(
    config: RunConfig, wanted: int, progress: Progress | None
) -> Iterator[tuple[TrainingParts, RunConfig, engines.Engine, int]]:
    """What a run trains with, on as many images as are wanted; its configuration, the engine, the steps of the whole run."""
    num_val = max(wanted // 4, min(wanted, ENOUGH_IMAGES))
    data, num_train = dataset.sample(config.data, seed=config.run.seed, num_train=wanted, num_val=num_val, progress=progress)
    if config.optim.batch_size > num_train:
        raise ValueError(
            f"optim.batch-size is {config.optim.batch_size}; the training set of {data.name} has {num_train} images"
        )
    batch_size = min(config.optim.batch_size, len(data.train))
    part = dataclasses.replace(config, optim=dataclasses.replace(config.optim, batch_size=batch_size, micro_batch_size=None))
    planned_steps = num_steps(num_train, config.optim.batch_size) * config.optim.epochs
    with engines.start(config.run) as engine:
        parts = faults.install(assemble(part, engine, data=data), part)
        yield parts, part, engine, planned_steps


def _diagnosed(parts: TrainingParts, config: RunConfig, engine: engines.Engine, planned_steps: int) -> Diagnosis:
    diagnosis = diagnose(evidence_before(parts, config, engine, planned_steps=planned_steps))
    images, _ = first_images(parts, min(16, len(parts.data.train)))
    return prescribed(diagnosis, parts.model, images, plan=config.init.plan)
