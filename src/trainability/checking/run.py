"""`check` for a run of this package, from its configuration."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from trainability import faults
from trainability.config import RunConfig
from trainability.data import dataset
from trainability.data.loader import num_steps
from trainability.data.packed import Progress
from trainability.doctor import Diagnosis, diagnose
from trainability.doctor.measure.sizes import ENOUGH_IMAGES, PROBE_MULTIPLICATIONS, audit_size, multiplications
from trainability.doctor.theory.trace import trace
from trainability.prescribe.remedies import prescribed
from trainability.training import engine as engines
from trainability.training.parts import TrainingParts, assemble, build_model
from trainability.training.precheck import evidence_before, first_images
from trainability.training.rehearsing import MOST_STEPS

# Of generated images, at most as many bytes are generated for a rehearsal.
MOST_BYTES = 1 << 30


def check_config(config: RunConfig, *, progress: Progress | None = None) -> Diagnosis:
    """Check a run before it starts: its data, network, initialisation, optimizer, metric and first steps. Nothing is written.

    Args:
        config: complete. Only the generated images that are looked at are generated; a rehearsal looks at more of them.
        progress: called with the progress of packing, if the data set has to be packed first.

    Raises:
        ValueError: `train` would refuse the configuration too.
    """
    with assembled(config, progress=progress) as look:
        return look.diagnosis()


@dataclass(frozen=True, kw_only=True)
class Look:
    """A run that is looked at before it starts.

    Attributes:
        parts: what it trains with.
        config: its configuration; the batch is smaller where a sample of images is smaller than one.
        engine: device, precision, processes.
        planned_steps: of the whole run.
        not_rehearsed: why no rehearsal fits its time; None where one may.
    """

    parts: TrainingParts
    config: RunConfig
    engine: engines.Engine
    planned_steps: int
    not_rehearsed: str | None

    def diagnosis(self) -> Diagnosis:
        """Probe, audits and rehearsal, with a plan in the remedies where the initialisation is the cause."""
        evidence = evidence_before(
            self.parts, self.config, self.engine, planned_steps=self.planned_steps, not_rehearsed=self.not_rehearsed
        )
        images, _ = first_images(self.parts, min(16, len(self.parts.data.train)))
        return prescribed(diagnose(evidence), self.parts.model, images, plan=self.config.init.plan)


@contextlib.contextmanager
def assembled(config: RunConfig, *, num_images: int = 0, progress: Progress | None = None) -> Iterator[Look]:
    """Build what a run trains with, on as many images as a check needs.

    Args:
        config: complete.
        num_images: at least as many training images, where there are.
        progress: as for `check_config`.

    Raises:
        ValueError: `train` would refuse the configuration too.
    """
    assert config.data.crop is not None
    shape = (3, config.data.crop, config.data.crop)
    audited, (rehearsed, too_slow) = audit_size(shape), _rehearsed_images(config)
    num_val = max(audited // 4, min(audited, ENOUGH_IMAGES))
    wanted = max(audited, rehearsed, num_images)
    data, num_train = dataset.sample(
        config.data,
        seed=config.run.seed,
        num_train=wanted,
        num_val=num_val,
        reads_all=bool(config.run.faults),  # some change the images in memory
        progress=progress,
    )
    if config.optim.batch_size > num_train:
        raise ValueError(
            f"optim.batch-size is {config.optim.batch_size}; the training set of {data.name} has {num_train} images"
        )
    num_train = min(num_train, config.overfit_images or num_train)
    part = config
    if len(data.train) < config.optim.batch_size:  # a sample of images that no step fits into
        optim = dataclasses.replace(config.optim, batch_size=len(data.train), micro_batch_size=None)
        part = dataclasses.replace(config, optim=optim)
    else:
        too_slow = None  # all images are there: the rehearsal itself finds out
    planned_steps = num_steps(num_train, config.optim.batch_size) * config.optim.epochs
    with engines.start(config.run) as engine:
        parts = faults.install(assemble(part, engine, data=data), part)
        yield Look(parts=parts, config=part, engine=engine, planned_steps=planned_steps, not_rehearsed=too_slow)


def _rehearsed_images(config: RunConfig) -> tuple[int, str | None]:
    """Images that a rehearsal takes which fits its time, by their multiplications, or 0 and why nothing fits."""
    seconds, batch, crop = config.run.rehearse_seconds or 0.0, config.optim.batch_size, config.data.crop
    if not seconds:
        return 0, None
    assert crop is not None
    with torch.device("meta"):
        model = build_model(config, num_classes=1)
        each = multiplications(model, trace(model, (1, 3, crop, crop)))
    most = batch * min(MOST_STEPS + 1, max(1, MOST_BYTES // (3 * batch * crop**2)))
    if config.run.device != "cpu" and torch.cuda.is_available():
        return most, None  # the rehearsal itself finds out how many steps there is time for
    # Forward and back, the probe's multiplications take about three seconds.
    step = 3 * each * batch / PROBE_MULTIPLICATIONS["cpu"]
    if seconds < 3 * step:
        return 0, f"three steps take about {3 * step:,.0f} s"
    return min(most, batch * math.ceil(seconds / step)), None
