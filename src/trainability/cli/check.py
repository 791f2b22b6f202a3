"""`trainability check` and `diagnose`: a verdict with its causes, before a training or of a run."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from trainability.cli.exit_codes import FAILED
from trainability.config import RunConfig

if TYPE_CHECKING:
    from trainability.doctor import Diagnosis


def check(
    config: Annotated[RunConfig, arg(name="")],
    target: Annotated[Positional[str | None], arg(metavar="[MODULE:FUNCTION]")] = None,
    *,
    recipe: Path | None = None,
    json: bool = False,
) -> int:
    """Say in seconds whether a training will work, before it is begun, and what to change.

    Looks at one forward and backward pass, the training and validation images, and the metric. Writes nothing.

    Exit code: 0 nothing worse than a hint, 1 something to change, 2 a value that cannot be used.

    Args:
        config: the run, with the flags of train.
        target: MODULE:FUNCTION, a function of your own that returns a trainability.Setup; then the other flags do
            not count.
        recipe: TOML file with the same names, as for train.
        json: print JSON instead, with everything that was measured.
    """
    from trainability.checking.check import check_setup
    from trainability.checking.run import check_config
    from trainability.checking.target import load_setup

    if target is not None and (recipe is not None or config != RunConfig()):
        raise ValueError(f"check {target} looks at what your function returns; flags of train and --recipe do not go with it")
    diagnosis = check_config(config.completed()) if target is None else check_setup(load_setup(target))
    return _show(diagnosis, as_json=json)


def diagnose(run: Positional[Path], *, json: bool = False) -> int:
    """Say what a run suffers from and what to change, from what it wrote; also of one under way or killed.

    Exit code: 0 nothing worse than a hint, 1 something to change, 2 no run that can be read.

    Args:
        run: run directory.
        json: print JSON instead, with everything that was measured.
    """
    from trainability.training.run_monitor import diagnose_run

    return _show(diagnose_run(run), as_json=json)


def _show(diagnosis: Diagnosis, *, as_json: bool) -> int:
    """Print a diagnosis; the exit code says whether it is worse than a hint."""
    if as_json:
        print(json_module.dumps(diagnosis.to_dict(), indent=2, allow_nan=False))
    else:
        from rich.console import Console

        from trainability.terminal.diagnosis import print_diagnosis

        print_diagnosis(Console(), diagnosis)
    return FAILED if diagnosis.worse_than_hint else 0
