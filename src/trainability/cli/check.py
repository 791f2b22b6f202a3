"""`trainability check` and `diagnose`: a verdict with its causes, before training or for an existing run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from trainability.cli.confirm import SECONDS, STEPS, confirmed
from trainability.cli.shown import show, show_each
from trainability.config import RunConfig


def check(
    config: Annotated[RunConfig, arg(name="")],
    target: Annotated[Positional[str | None], arg(metavar="[MODULE:FUNCTION]")] = None,
    *,
    recipe: Path | None = None,
    rehearse: float | None = None,
    confirm: bool = False,
    json: bool = False,
) -> int:
    """Predict in seconds whether training will work, and what to change.

    Examines one forward and backward pass, the training and validation images, and the metric, and rehearses the first steps
    of training on a copy. Writes nothing.

    Exit code: 0 no finding worse than a hint and no verdict of failure, 1 something to change, 2 an unusable value.

    Args:
        config: the run, with the flags of train.
        target: MODULE:FUNCTION, your own function that returns a trainability.Setup; the only other flags that it
            takes are --rehearse, --confirm and --json.
        recipe: TOML file with the same names, as for train.
        rehearse: most seconds for rehearsing steps of the loop on a copy, 0 for none; by default, the value of the Setup or
            of --run.rehearse-seconds (10).
        confirm: also try one change at a time in copies, like the command confirm, which has more flags.
        json: print JSON with all measurements instead.
    """
    if target is not None and (recipe is not None or config != RunConfig()):
        raise ValueError(f"check {target} examines what your function returns; it takes no --recipe and no flags of train")
    if rehearse is not None:
        from trainability.doctor.arguments import check_seconds

        check_seconds(rehearse=rehearse)
    if confirm:
        return show(confirmed(config, target, rehearse=rehearse, seconds=SECONDS, steps=STEPS), as_json=json)
    if target is None:
        from trainability.checking.run import check_config
        from trainability.cli.progress import progress_of
        from trainability.terminal.console import plain_console

        if rehearse is not None:
            config = dataclasses.replace(config, run=dataclasses.replace(config.run, rehearse_seconds=rehearse))
        with progress_of(plain_console()) as progress:
            diagnosis = check_config(config.completed(), progress=progress)
        return show(diagnosis, as_json=json)
    from trainability.checking.check import check_setup
    from trainability.checking.target import load_setup

    setup = load_setup(target)
    setup = setup if rehearse is None else dataclasses.replace(setup, rehearse_seconds=rehearse)
    return show(check_setup(setup), as_json=json)


def diagnose(run: Positional[Path], *, json: bool = False) -> int:
    """Diagnose a run: what is wrong and what to change. Reads its directory. The run may be in progress or killed.

    Exit code: 0 no finding worse than a hint and no verdict of failure, 1 something to change, 2 no readable run.

    Args:
        run: run directory, or its name below runs. If it contains one run directory for each of several
            optimizers, each is diagnosed.
        json: print JSON with all measurements instead.
    """
    from trainability.training.run_list import find_runs
    from trainability.training.run_monitor import diagnose_run

    found = {folder: diagnose_run(folder) for folder in find_runs(run)}
    return show(*found.values(), as_json=json) if len(found) == 1 else show_each(found, as_json=json)
