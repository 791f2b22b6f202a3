"""`check` for a run of this package, from its configuration."""

from __future__ import annotations

import dataclasses

from trainability import faults
from trainability.config import RunConfig
from trainability.data import dataset
from trainability.data.loader import num_steps
from trainability.data.packed import Progress
from trainability.doctor import Diagnosis, diagnose
from trainability.doctor.measure.sizes import ENOUGH_IMAGES, audit_size
from trainability.prescribe.remedies import prescribed
from trainability.training import engine as engines
from trainability.training.parts import assemble
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
    shape = (3, config.data.crop, config.data.crop)
    audited = audit_size(shape)
    num_val = max(audited // 4, min(audited, ENOUGH_IMAGES))
    data, num_train = dataset.sample(config.data, seed=config.run.seed, num_train=audited, num_val=num_val, progress=progress)
    if config.optim.batch_size > num_train:
        raise ValueError(
            f"optim.batch-size is {config.optim.batch_size}; the training set of {data.name} has {num_train} images"
        )
    batch_size = min(config.optim.batch_size, len(data.train))
    part = dataclasses.replace(config, optim=dataclasses.replace(config.optim, batch_size=batch_size, micro_batch_size=None))
    planned_steps = num_steps(num_train, config.optim.batch_size) * config.optim.epochs
    with engines.start(config.run) as engine:
        parts = faults.install(assemble(part, engine, data=data), part)
        diagnosis = diagnose(evidence_before(parts, part, engine, planned_steps=planned_steps))
        images, _ = first_images(parts, min(16, len(data.train)))
        return prescribed(diagnosis, parts.model, images, plan=config.init.plan)
