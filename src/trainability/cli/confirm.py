"""`trainability confirm`: a check, and experiments that confirm or refute each cause."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from trainability.cli.shown import show
from trainability.config import RunConfig

if TYPE_CHECKING:
    from trainability.doctor import Diagnosis
    from trainability.doctor.setup import Setup

SECONDS, STEPS = 60.0, 120


def confirm(
    config: Annotated[RunConfig, arg(name="")],
    target: Annotated[Positional[str | None], arg(metavar="[MODULE:FUNCTION]")] = None,
    *,
    recipe: Path | None = None,
    rehearse: float | None = None,
    seconds: float = SECONDS,
    steps: int = STEPS,
    processes: int | None = None,
    cluster: str | None = None,
    json: bool = False,
) -> int:
    """Change one thing at a time in copies, and see what makes it learn.

    Checks first. Prints the loss before and after for each change and for the unchanged program; a cause is confirmed,
    refuted, open or not tested. Writes nothing.

    Exit code: 0 no finding worse than a hint and no verdict of failure, 1 something to change, 2 an unusable value.

    Args:
        config: the run, with the flags of train.
        target: MODULE:FUNCTION, your own function that returns a trainability.Setup, called again for a second seed; it takes
            no flags of train.
        recipe: TOML file with the same names, as for train.
        rehearse: most seconds for the rehearsal of the check, as for check.
        seconds: most seconds for the experiments.
        steps: steps of each copy; four times as many if no change fixes the program and there is time.
        processes: changes tried at the same time, each on one core. None tries one after the other.
        cluster: address of a Dask scheduler, tcp://HOST:PORT, to try changes there (needs the extra cluster).
        json: print JSON with all measurements and curves instead.
    """
    from trainability.doctor.experiments.standing import FEWEST_STEPS
    from trainability.executors import check_flags

    if steps < FEWEST_STEPS:
        raise ValueError(f"--steps is {steps}; expected {FEWEST_STEPS} or more")
    if not seconds > 0:
        raise ValueError(f"--seconds is {seconds:g}; expected more than 0")
    if target is not None and (recipe is not None or config != RunConfig()):
        raise ValueError(f"confirm {target} examines what your function returns; it takes no --recipe and no flags of train")
    check_flags(processes, cluster)
    found = confirmed(config, target, rehearse=rehearse, seconds=seconds, steps=steps, processes=processes, cluster=cluster)
    return show(found, as_json=json)


def confirmed(
    config: RunConfig,
    target: str | None,
    *,
    rehearse: float | None,
    seconds: float,
    steps: int,
    processes: int | None = None,
    cluster: str | None = None,
) -> Diagnosis:
    """Check and experiment, and show the progress in the terminal."""
    from trainability.checking.confirm import confirm as confirm_setup
    from trainability.checking.confirm_run import confirm_config
    from trainability.cli.progress import progress_of
    from trainability.executors import optional_executor
    from trainability.terminal.console import plain_console

    if rehearse is not None:
        from trainability.doctor.arguments import check_seconds

        check_seconds(rehearse=rehearse)
    if target is None and rehearse is not None:
        config = dataclasses.replace(config, run=dataclasses.replace(config.run, rehearse_seconds=rehearse))
    with progress_of(plain_console()) as progress, optional_executor(processes, cluster) as executor:

        def trying(change: str, number: int, total: int | None) -> None:
            progress(f"experiments: {change}", number, total)

        if target is None:
            complete = config.completed()
            return confirm_config(
                complete, seconds=seconds, max_steps=steps, progress=progress, trying=trying, executor=executor
            )
        make = functools.partial(_setup, target, rehearse)
        return confirm_setup(make, seconds=seconds, max_steps=steps, progress=trying, executor=executor)


def _setup(target: str, rehearse: float | None) -> Setup:
    """Make the user's setup, in this or another process, with the given time for the rehearsal of the check."""
    from trainability.checking.target import load_setup

    setup = load_setup(target)
    return setup if rehearse is None else dataclasses.replace(setup, rehearse_seconds=rehearse)
