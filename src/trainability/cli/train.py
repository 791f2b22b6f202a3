"""`trainability train`: make a run, or continue one."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from trainability import config as configuration
from trainability.cli.exit_codes import FAILED, INTERRUPTED
from trainability.config import RunConfig

if TYPE_CHECKING:
    from trainability.terminal.display import TerminalDisplay
    from trainability.training.engine import Engine
    from trainability.training.logbook import Outcome
    from trainability.training.record import RunWriter


def train(
    config: Annotated[RunConfig, arg(name="")],
    *,
    recipe: Path | None = None,
    resume: Path | None = None,
) -> int:
    """Train a VGG from random weights, evaluate it after every epoch, and write its report.

    Without flags: VGG-B at a quarter of its width on the built-in handwritten digits, half a minute on two cores.

    Everything goes to one run directory of plain files. Ctrl-C saves; --resume RUN continues exactly there, as
    does a run that was killed. Several processes: torchrun --nproc-per-node N -m trainability train ...

    Exit code: 0 finished, 1 stopped at a NaN or Inf or by --run.stop-on, 2 a value that cannot be used, 130
    interrupted.

    Args:
        config: the run.
        recipe: TOML file with the same names, in sections [model], [init], [data], [optim], [run]. Flags go above it.
        resume: run directory to continue. Its own configuration is taken; flags that change the result are refused.
    """
    from rich.console import Console

    from trainability.report.html import write_report
    from trainability.terminal.display import TerminalDisplay, result_table
    from trainability.training import engine as engines
    from trainability.training.evaluate import EvaluationOptions, evaluate_runs

    config = config.completed()
    if resume is not None:
        _check_resumed(resume, config)
    console = Console()
    display = TerminalDisplay(console)
    with engines.start(config.run) as engine:
        record, outcome = _run(config, resume, engine, display)
        if outcome.status == "finished":
            # The same centre crops as after every epoch, now with every answer kept, for `errors` and the report.
            evaluate_runs([record.folder], EvaluationOptions(protocol="centre"), engine=engine)
        if not engine.is_main:
            return 0
    report_path = write_report(record.folder)
    assert display.begin is not None
    console.print(result_table(display.begin, outcome, report_path))
    if outcome.status in ("non-finite", "stopped"):
        print(f"stopped: {outcome.message}", file=sys.stderr)
        return FAILED
    if outcome.status == "interrupted":
        print(f"continue with: trainability train --resume {record.folder}", file=sys.stderr)
        return INTERRUPTED
    return 0


def _run(config: RunConfig, resume: Path | None, engine: Engine, display: TerminalDisplay) -> tuple[RunWriter, Outcome]:
    """Train, and let go of the network before the processes part."""
    from trainability import faults
    from trainability.training.loop import fit
    from trainability.training.parts import assemble

    # Whatever cannot be run is found here, before a run directory exists.
    parts = faults.install(assemble(config, engine), config)
    record = _open_run(config, resume, engine)
    try:
        return record, fit(config, parts, record, engine=engine, display=display)
    finally:
        display.close()


def _open_run(config: RunConfig, resume: Path | None, engine: Engine) -> RunWriter:
    """Make the run directory, or open the one to resume; the main process does, the others learn which it is.

    Raises:
        ValueError: it cannot be used; in every process.
    """
    from trainability.training.record import RunWriter, next_folder

    if resume is not None:
        if engine.is_main:
            RunWriter(resume).write_config(config)  # with the larger number of epochs, if that was asked for
        return RunWriter(resume)
    folder = problem = None
    if engine.is_main:
        try:
            folder = config.run.dir or next_folder(config)
            RunWriter.create(folder, config)
        except ValueError as error:
            problem = str(error)
    (folder, problem) = engine.gathered((folder, problem))[0]
    if problem:
        raise ValueError(problem)
    return RunWriter(folder)


# What may differ when a run is continued: it says where and how, and does not change the result.
_FREE = {"run.dir", "run.device", "run.compile", "run.deterministic", "run.sinks", "run.log-every-steps"}
_FREE |= {"run.checkpoint-every-steps", "data.workers", "data.cache", "data.resident-gib"}
_FREE |= {"run.check", "run.monitor-every-steps", "run.stop-on", "run.period"}


def _check_resumed(folder: Path, config: RunConfig) -> None:
    """Refuse to continue a run under another configuration. More epochs are welcome where the schedule does not end with them.

    Raises:
        ValueError: the first field that differs, with both values.
    """
    stored = configuration.from_toml(folder / "config.toml").completed()
    if config.optim.epochs > stored.optim.epochs and stored.optim.schedule != "cosine":
        stored = dataclasses.replace(stored, optim=dataclasses.replace(stored.optim, epochs=config.optim.epochs))
    changed = [line for line in configuration.differences(stored, config) if line.split()[0] not in _FREE]
    if changed:
        raise ValueError(f"--resume {folder}: {changed[0]}; a run continues with its own configuration")
