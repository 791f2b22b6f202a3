"""`confirm` for a run of this package, from its configuration."""

from __future__ import annotations

import dataclasses
from concurrent.futures import Executor

from trainability import faults
from trainability.checking.confirm import experimented
from trainability.checking.program import Program
from trainability.checking.run import assembled
from trainability.checking.run_setup import LACKS, setup_of_run
from trainability.config import RunConfig
from trainability.data.packed import Progress
from trainability.doctor import Diagnosis
from trainability.doctor.experiments import battery
from trainability.doctor.setup import Setup
from trainability.training.parts import assemble


def confirm_config(
    config: RunConfig,
    *,
    seconds: float = 60.0,
    max_steps: int = 120,
    progress: Progress | None = None,
    trying: battery.Progress | None = None,
    executor: Executor | None = None,
) -> Diagnosis:
    """Check a run, then change one thing at a time in copies of it. Nothing is written.

    The copies are stepped in the run's precision and at its full rate: a schedule hardly changes it in as many steps, and the
    steps of a warm-up would say little of what comes after.

    Args:
        config: complete.
        seconds: as for `confirm`.
        max_steps: as for `confirm`.
        progress: called with the progress of packing, if the data set has to be packed first.
        trying: called with the change that is tried, its number, and how many there are.
        executor: as for `confirm`.

    Raises:
        ValueError: as `check_config`, or a number is too small.
    """
    num_images = max_steps * config.optim.batch_size
    with assembled(config, num_images=num_images, progress=progress) as look:
        before = look.diagnosis()
        setup = setup_of_run(look.parts, look.config, look.engine, look.planned_steps)

        def again() -> Setup:
            other = dataclasses.replace(look.config, run=dataclasses.replace(look.config.run, seed=look.config.run.seed + 1))
            parts = faults.install(assemble(other, look.engine, data=look.parts.data), other)
            return setup_of_run(parts, other, look.engine, look.planned_steps)

        found = experimented(
            before,
            setup,
            make=again,
            seconds=seconds,
            max_steps=max_steps,
            progress=trying,
            executor=executor,
            elsewhere=Program(config=config, num_images=num_images).setup,
        )
    experiments = found.evidence.experiments
    assert experiments is not None
    noted = dataclasses.replace(experiments, notes=(*experiments.notes, f"experiments: their steps are without {LACKS}"))
    return dataclasses.replace(found, evidence=dataclasses.replace(found.evidence, experiments=noted))
