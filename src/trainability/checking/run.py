"""`check` for a run of this package, from its configuration."""

from __future__ import annotations

import dataclasses
import math
import time

import torch

from trainability import faults
from trainability.config import RunConfig
from trainability.data import dataset
from trainability.data.loader import num_steps
from trainability.doctor import Diagnosis, diagnose
from trainability.doctor.measure.sizes import PROBE_MULTIPLICATIONS, audit_size, multiplications
from trainability.doctor.theory.trace import trace
from trainability.prescribe.remedies import prescribed
from trainability.training import engine as engines
from trainability.training.parts import assemble, build_model
from trainability.training.precheck import evidence_before, first_images
from trainability.training.rehearsing import MOST_STEPS


def check_config(config: RunConfig) -> Diagnosis:
    """Check a run before it starts: its data, network, initialisation, optimizer, metric and first steps. Nothing is written.

    Args:
        config: complete. Only the generated images that are looked at are generated; a rehearsal looks at more of them.

    Raises:
        ValueError: `train` would refuse the configuration too.
    """
    assert config.data.crop is not None
    shape = (3, config.data.crop, config.data.crop)
    began, audited = time.monotonic(), audit_size(shape)
    wanted = max(audited, _rehearsed_images(config))
    data, num_train = dataset.sample(config.data, seed=config.run.seed, num_train=wanted, num_val=max(8, audited // 4))
    if config.optim.batch_size > num_train:
        raise ValueError(
            f"optim.batch-size is {config.optim.batch_size}; the training set of {data.name} has {num_train} images"
        )
    part = config
    if len(data.train) < config.optim.batch_size:  # a sample of images that no step fits into: too slow to rehearse
        optim = dataclasses.replace(config.optim, batch_size=len(data.train), micro_batch_size=None)
        part = dataclasses.replace(config, optim=optim, run=dataclasses.replace(config.run, rehearse_seconds=None))
    planned_steps = num_steps(num_train, config.optim.batch_size) * config.optim.epochs
    with engines.start(config.run) as engine:
        parts = faults.install(assemble(part, engine, data=data), part)
        diagnosis = diagnose(evidence_before(parts, part, engine, planned_steps=planned_steps, began=began))
        images, _ = first_images(parts, min(16, len(data.train)))
        return prescribed(diagnosis, parts.model, images, plan=config.init.plan)


def _rehearsed_images(config: RunConfig) -> int:
    """Images that the steps of a rehearsal take which fits its time, by their multiplications; 0 where three steps do not."""
    seconds, batch, crop = config.run.rehearse_seconds or 0.0, config.optim.batch_size, config.data.crop
    assert crop is not None
    with torch.device("meta"):
        model = build_model(config, num_classes=1)
        each = multiplications(model, trace(model, (1, 3, crop, crop)))
    device = "cpu" if config.run.device == "cpu" or not torch.cuda.is_available() else "accelerator"
    # A step is three forward passes; the probe's multiplications take about two seconds.
    steps = seconds * PROBE_MULTIPLICATIONS[device] / (2 * each * batch)
    return batch * min(math.ceil(steps), MOST_STEPS + 1) if steps >= 3 else 0
