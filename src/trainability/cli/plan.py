"""`trainability plan`: initialisations and learning rates that will train, ranked."""

from __future__ import annotations

import contextlib
import dataclasses
import json as json_module
import shlex
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from trainability import config as configuration
from trainability.cli.shown import show_what_to_fix_first
from trainability.config import RunConfig, in_range
from trainability.disk import whole

if TYPE_CHECKING:
    from trainability.cli.progress import Report
    from trainability.prescribe.search import Proposal, Trying


def plan(
    config: Annotated[RunConfig, arg(name="")],
    target: Annotated[Positional[str | None], arg(metavar="[MODULE:FUNCTION]")] = None,
    *,
    recipe: Path | None = None,
    top: int = 5,
    seconds: float = 0.0,
    vary: tuple[Literal["lr", "clip", "input"], ...] = ("lr", "clip", "input"),
    out: Path | None = None,
    processes: int | None = None,
    cluster: str | None = None,
    json: bool = False,
) -> int:
    """Propose an initialisation and a learning rate that will train. For a run, or for your own model.

    Ranks plans by the closed form, without drawing weights, and measures the first updates of the best. With --seconds, also
    trains the first few plans for some steps on copies, and puts the plan that learned most first. --run.period 2014-09
    proposes only what was published by then. Writes only --out.

    Exit code: 0, or 2 for an unusable value.

    Args:
        config: the run, with the flags of train; its --init.plan is also considered with other standard deviations.
        target: MODULE:FUNCTION, your own function that returns a trainability.Setup; it takes no flags of train.
        recipe: TOML file with the same names, as for train.
        top: how many plans to propose.
        seconds: most seconds for trying plans, for all plans together.
        vary: what else may be proposed: another learning rate; clipping; standardised inputs instead of only subtracting the
            mean. Empty for none.
        out: write the best plan's run as a recipe (TOML) for train.
        processes: with --seconds, plans tried at the same time, each on one core. None tries one after the other.
        cluster: address of a Dask scheduler, tcp://HOST:PORT, to try plans there (needs the extra cluster).
        json: print JSON.
    """
    from trainability.executors import check_flags, optional_executor

    in_range("top", top, at_least=1)
    in_range("seconds", seconds, at_least=0)
    check_flags(processes, cluster)
    if target is not None:
        if recipe is not None or out is not None or config != RunConfig():
            raise ValueError(f"plan {target} is for what your function returns; it takes no --recipe, --out or flags of train")
        show_what_to_fix_first(target, as_json=json)
        with optional_executor(processes, cluster) as executor, _progress() as (_, trying):
            found = _for_target(target, top, seconds, vary, executor, trying)
        return _show(found, as_json=json, flags=None)

    from trainability.checking.plan import plans_for_run

    config = config.completed()
    with optional_executor(processes, cluster) as executor, _progress() as (progress, trying):
        plans = plans_for_run(config, vary=vary, top=top, seconds=seconds, progress=progress, trying=trying, executor=executor)
    if out is not None:
        whole.write(out, configuration.to_toml(plans.config).encode())
    changed = {line.split()[0] for line in configuration.differences(config, plans.config)} | {"init.plan"}
    return _show(plans.proposals, as_json=json, flags=_flags(plans.config, changed))


@contextlib.contextmanager
def _progress() -> Iterator[tuple[Report, Trying]]:
    """Show what is being done, and which plan is measured."""
    from trainability.cli.progress import progress_of
    from trainability.terminal.console import plain_console

    with progress_of(plain_console()) as progress:
        yield progress, lambda plan, number, total: progress(f"plans: {plan}", number, total)


def _flags(config: RunConfig, names: set[str]) -> str:
    """Write fields as flags of `train`."""
    flags = configuration.field_flags()
    values = {
        f"{section}.{flag}": getattr(getattr(config, section), field)
        for section, fields in flags.items()
        for flag, field in fields.items()
    }
    return " ".join(f"--{name} {shlex.quote(str(values[name]))}" for name in values if name in names)


def _for_target(
    target: str, top: int, seconds: float, vary: tuple[str, ...], executor: Executor | None, trying: Trying
) -> list[Proposal]:
    from trainability.checking.plan import plans_for_setup
    from trainability.checking.program import Program

    make = Program(target=target).setup
    return plans_for_setup(
        make(),
        vary_lr="lr" in vary,
        vary_clip="clip" in vary,
        top=top,
        seconds=seconds,
        executor=executor,
        make=make,
        trying=trying,
    )


def _show(found: list[Proposal], *, as_json: bool, flags: str | None) -> int:
    if as_json:
        rows = [{**dataclasses.asdict(proposal), "plan": str(proposal.plan)} for proposal in found]
        print(json_module.dumps(rows, indent=2, allow_nan=False))
        return 0
    from trainability.terminal.console import plain_console
    from trainability.terminal.plan import print_plans

    print_plans(plain_console(), found, flags=flags)
    return 0
