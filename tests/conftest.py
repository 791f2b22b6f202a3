"""What tests share: a small run that takes a second, and the command line as a user calls it."""

from __future__ import annotations

import dataclasses
import gc
import inspect
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainability import faults
from trainability.config import SECTIONS, RunConfig
from trainability.doctor.measure.stance import has_compiled
from trainability.loops.monitor import Monitor
from trainability.training import engine as engines
from trainability.training.logbook import Outcome
from trainability.training.loop import fit
from trainability.training.parts import TrainingParts, assemble
from trainability.training.record import Run, RunWriter, read_run

SMALL = {
    "model.config": "A",
    "model.width": 0.08,
    "model.hidden": 48,
    "optim.batch_size": 128,
    "optim.epochs": 2,
    "optim.schedule": "plateau",
    "run.device": "cpu",
    "run.log_every_steps": 3,
    "run.check": "off",
}
"""A second of training: 12 steps an epoch, the last of them of 30 images."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `pytest --write-golden` write the golden losses anew."""
    parser.addoption("--write-golden", action="store_true", help="write tests/golden anew instead of comparing with it")


def pytest_configure(config: pytest.Config) -> None:
    """Share the cores among the processes of `make test`, and whatever those start; without this each takes all of them.

    What they import is compiled once, and kept: every `trainability` that a test starts would compile 400 modules.
    """
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    workers = getattr(config, "workerinput", {}).get("workercount")
    if workers is not None and "OMP_NUM_THREADS" not in os.environ:
        threads = max(1, len(os.sched_getaffinity(0)) // workers)
        os.environ["OMP_NUM_THREADS"] = str(threads)
        torch.set_num_threads(threads)


@pytest.fixture(scope="module", autouse=True)
def the_heap_is_that_of_the_file() -> None:
    """Hide from the garbage collector what other files made and imported.

    Monitor looks through all objects of its process. A process that has imported all tests holds two million, so that a look
    takes half a second, and what other tests left behind would be taken for the program's own.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def random_numbers_are_those_of_the_test() -> None:
    """Seed all generators, so that a test does not depend on those that ran before it."""
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)


@pytest.fixture(autouse=True)
def nothing_is_compiled() -> None:
    """What another test compiled keeps Monitor from looking at the loss."""
    if has_compiled():
        torch._dynamo.reset()


@pytest.fixture(autouse=True)
def no_step_is_asked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most tests look at what Monitor sees by itself; to ask a step at the end of every loop would double their time."""
    if request.module.__name__ not in ("test_cases", "test_own_step_of_monitor"):
        monkeypatch.setitem(inspect.unwrap(Monitor.__init__).__kwdefaults__, "asks_step", False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device; torch sees none"))


def config_of(**fields: Any) -> RunConfig:
    """Build a complete configuration from `section__field=value`, over `SMALL`."""
    values = {**SMALL, **{key.replace("__", "."): value for key, value in fields.items()}}
    parts: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        section, name = key.split(".")
        parts.setdefault(section, {})[name] = value
    return RunConfig(**{section: SECTIONS[section](**given) for section, given in parts.items()}).completed()


@dataclasses.dataclass(frozen=True)
class Trained:
    """A run that was made in this process."""

    run: Run
    outcome: Outcome
    parts: TrainingParts

    @property
    def losses(self) -> list[float]:
        """Loss of every step."""
        return [row["loss"] for row in self.run.steps]


def train(folder: Path, config: RunConfig, **more: Any) -> Trained:
    """Make a run in `folder`, or continue the one there."""
    with engines.start(config.run) as engine:
        parts = faults.install(assemble(config, engine), config)
        record = RunWriter(folder) if (folder / "config.toml").exists() else RunWriter.create(folder, config)
        outcome = fit(config, parts, record, engine=engine, **more)
    return Trained(read_run(folder), outcome, parts)


class QuietDisplay:
    """A `training.logbook.Display` that shows nothing; a test overrides what it listens to."""

    def start(self, start: Any) -> None:
        """Training begins."""

    def step(self, position: Any) -> None:
        """A step was issued."""

    def rows(self, rows: Any) -> None:
        """Steps were read from the device."""

    def evaluation(self, row: Any) -> None:
        """An epoch ended."""

    def diagnosed(self, diagnosis: Any, new: Any) -> None:
        """The check was made, or findings arose."""


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Call `trainability` as a user does: another process, in an empty directory."""

    def call(*arguments: str, processes: int = 1, **environment: str) -> subprocess.CompletedProcess[str]:
        launcher = [sys.executable, "-m"]
        if processes > 1:
            launcher += ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
        return subprocess.run(
            [*launcher, "trainability", *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "COLUMNS": "100", **environment},
        )

    return call


def hear_ctrl_c() -> None:
    """Let a child hear Ctrl-C, as its `preexec_fn`: what a shell begins in the background ignores it, its children too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def flags_of(config: RunConfig) -> list[str]:
    """Write a configuration as command-line flags, but for the run directory."""
    flags = []
    for section in SECTIONS:
        default = SECTIONS[section]()
        for item in dataclasses.fields(SECTIONS[section]):
            value = getattr(getattr(config, section), item.name)
            name = f"{section}.{item.name.rstrip('_').replace('_', '-')}"
            if value == getattr(default, item.name) or name == "run.dir":
                continue
            if isinstance(getattr(default, item.name), bool):
                flags += [f"--{name}" if value else f"--{section}.no-{name.split('.')[1]}"]
            else:
                flags += [f"--{name}", *map(str, value if isinstance(value, tuple) else [value])]
    return flags
