"""A program by its name: a run's configuration, or MODULE:FUNCTION. It travels to other processes, which make it there."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass

from trainability.checking.run import assembled
from trainability.checking.run_setup import setup_of_run
from trainability.checking.target import load_setup
from trainability.config import RunConfig
from trainability.doctor.experiments.sources import kept_batches
from trainability.doctor.measure.randomness import randomness_restored
from trainability.doctor.setup import Setup

_MOST_BATCHES, _SECONDS = 200, 5.0  # kept of a loader that can be read once only


@dataclass(frozen=True, kw_only=True)
class Program:
    """What is to be run; one of the two is given.

    Attributes:
        config: complete.
        target: MODULE:FUNCTION of the user's own; a process that makes it imports it from its working directory.
        num_images: of a run's training images, at least as many are loaded, where there are.
    """

    config: RunConfig | None = None
    target: str | None = None
    num_images: int = 0

    def setup(self) -> Setup:
        """Make the program, or return the one that this process made before.

        Raises:
            ValueError: as `assembled` and `load_setup`.
        """
        return _made(self)


@functools.lru_cache(maxsize=1)
def _made(program: Program) -> Setup:
    with randomness_restored():
        if program.target is not None:
            setup = load_setup(program.target)
            if isinstance(setup.train_loader, Iterator):  # can be read once only, and is read again and again
                setup = dataclasses.replace(setup, train_loader=kept_batches(setup.train_loader, _MOST_BATCHES, _SECONDS)[0])
            return setup
        assert program.config is not None
        with assembled(program.config, num_images=program.num_images) as look:
            return setup_of_run(look.parts, look.config, look.engine, look.planned_steps)
