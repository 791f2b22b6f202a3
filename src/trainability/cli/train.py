"""`trainability train`: start a run, or continue one."""

from __future__ import annotations

import contextlib
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
    """Train a VGG from random weights, and write its report. Evaluates after every epoch.

    Without flags, it trains VGG-B at a quarter of its width on the built-in handwritten digits, in half a minute on two
    cores.

    Everything is written to one run directory of plain files. Ctrl-C saves and ends the run; --resume RUN continues it
    exactly, also after a kill. Several processes: torchrun --nproc-per-node N -m trainability train ...

    Exit code: 0 finished, 1 stopped at a NaN or Inf or by --run.stop-on, 2 an unusable value, 130 interrupted.

    Args:
        config: the run.
        recipe: TOML file with the same names, in sections [model], [init], [data], [optim], [run]. Flags override it.
        resume: run directory to continue, or its name below runs, with its own configuration; flags that change the result
            are refused.
    """
    from trainability.report.html import write_report
    from trainability.terminal.console import plain_console
    from trainability.terminal.display import TerminalDisplay, result_table
    from trainability.training import engine as engines
    from trainability.training.evaluate import EvaluationOptions, evaluate_runs
    from trainability.training.run_list import find_run

    config = config.completed()
    if resume is not None:
        resume = find_run(resume)
        _check_resumed(resume, config)
    console = plain_console()
    display = TerminalDisplay(console)
    with contextlib.ExitStack() as held, engines.start(config.run) as engine:
        if resume is None:  # a sharded run may be resumed by one process
            config = _as_parallel_as_it_is(config, engine)
        record, outcome = _run(config, resume, engine, display, held)
        try:
            if outcome.status == "finished":
                # The same centre crops as after every epoch, now with all predictions saved, for `errors` and the report.
                evaluate_runs([record.folder], EvaluationOptions(protocol="centre"), engine=engine)
            if not engine.is_main:
                return 0
            report_path = write_report(record.folder)
        except OSError as error:
            return _unreported(record.folder, outcome, error)
    assert display.begin is not None
    console.print(result_table(display.begin, outcome, report_path))
    if outcome.status in ("non-finite", "stopped"):
        print(f"stopped: {outcome.message}", file=sys.stderr)
        return FAILED
    if outcome.status == "interrupted":
        print(f"continue with: trainability train --resume {record.folder}", file=sys.stderr)
        return INTERRUPTED
    return 0


def _as_parallel_as_it_is(config: RunConfig, engine: Engine) -> RunConfig:
    """Record and report that a single process does not shard the network."""
    if config.run.parallel != "sharded" or engine.is_sharded:
        return config
    print(
        "run.parallel sharded takes several processes (torchrun --nproc-per-node N -m trainability train ...); this run has"
        " one, and is recorded as ddp",
        file=sys.stderr,
    )
    return dataclasses.replace(config, run=dataclasses.replace(config.run, parallel="ddp"))


def _unreported(folder: Path, outcome: Outcome, error: OSError) -> int:
    """Report that training is done and saved, although the files written after it could not be."""
    again = f"train --resume {folder}" if outcome.status == "finished" else f"report {folder}"
    print(
        f"trainability: the training is {outcome.status} and saved in {folder}, but {error.filename or 'a file'} could not be"
        f" written ({error.strerror}); later, with room for it: trainability {again}",
        file=sys.stderr,
    )
    return FAILED


def _run(
    config: RunConfig, resume: Path | None, engine: Engine, display: TerminalDisplay, held: contextlib.ExitStack
) -> tuple[RunWriter, Outcome]:
    """Train, and free the network before the process group ends. The run directory stays locked until `held` is closed."""
    from trainability import faults
    from trainability.cli.progress import progress_of
    from trainability.training.loop import fit
    from trainability.training.parts import assemble

    record = None
    try:
        # Raises if the run is impossible, before a run directory exists.
        with progress_of(display.console) as progress:
            parts = faults.install(assemble(config, engine, progress=progress if engine.is_main else None), config)
        record = _open_run(config, resume, engine, held)
        return record, fit(config, parts, record, engine=engine, display=display)
    except KeyboardInterrupt:
        begin = "; nothing was trained yet" if resume is None else ""
        raise KeyboardInterrupt(
            f"; trainability train --resume {record.folder} goes on from its last checkpoint" if record else begin
        ) from None
    finally:
        display.close()


def _open_run(config: RunConfig, resume: Path | None, engine: Engine, held: contextlib.ExitStack) -> RunWriter:
    """Create the run directory, or open the one to resume. The main process does this and sends its path to the others.

    Raises:
        ValueError: it cannot be used, or another process uses it; raised in every process.
    """
    from trainability.training.record import RunWriter, next_folder

    folder = problem = None
    if engine.is_main:
        try:
            folder = resume or config.run.dir or next_folder(config)
            held.enter_context(RunWriter(folder).held())
            if resume is not None:
                _check_unfinished(resume, config)
            else:
                RunWriter.create(folder, config)
        except ValueError as error:
            problem = str(error)
        except OSError as error:
            problem = f"{error.filename or folder}: {error.strerror}"
    (folder, problem) = engine.gathered((folder, problem))[0]
    if problem:
        raise ValueError(problem)
    return RunWriter(folder)


def _check_unfinished(folder: Path, config: RunConfig) -> None:
    """Refuse to continue a run that is complete: all epochs, predictions and report exist.

    Raises:
        ValueError: it is complete.
    """
    from trainability.evaluation.predictions import FILE
    from trainability.report.html import REPORT
    from trainability.training.record import read_run

    result = read_run(folder).result
    if result is None or result["status"] != "finished" or result["epoch"] < config.optim.epochs:
        return
    if all((folder / name).is_file() for name in (FILE, REPORT)):
        raise ValueError(
            f"{folder} is finished: {result['epoch']} of {config.optim.epochs} epochs; continue it with a larger"
            " --optim.epochs, or look at its report"
        )


def _check_resumed(folder: Path, config: RunConfig) -> None:
    """Refuse to continue a run with another configuration. More epochs are accepted if the schedule does not depend on them.

    Raises:
        ValueError: gives the first field that differs, with both values.
    """
    from trainability.training.same_run import FREE

    stored = configuration.from_toml(folder / "config.toml").completed()
    if config.optim.epochs > stored.optim.epochs and stored.optim.schedule != "cosine":
        stored = dataclasses.replace(stored, optim=dataclasses.replace(stored.optim, epochs=config.optim.epochs))
    changed = [line for line in configuration.differences(stored, config) if line.split()[0] not in FREE]
    if changed:
        raise ValueError(f"--resume {folder}: {changed[0]}; a run continues with its own configuration")
