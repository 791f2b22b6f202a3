"""`trainability map`: what trains and what does not, over gain budget and learning rate, and where the user's program is."""

from __future__ import annotations

import dataclasses
import json as json_module
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from trainability.cli.shown import show_what_to_fix_first
from trainability.config import RunConfig, in_range

if TYPE_CHECKING:
    from trainability.checking.program import Program
    from trainability.prescribe.phase_map import Cell, Outcome, PhaseMap
    from trainability.prescribe.short_run import ShortRun

FOLDER = Path("runs/maps")
PAGE = "map.html"


def map_command(
    config: Annotated[RunConfig, arg(name="")],
    target: Annotated[Positional[str | None], arg(metavar="[MODULE:FUNCTION]")] = None,
    *,
    recipe: Path | None = None,
    runs: int = 0,
    steps: int = 300,
    seconds: float = 10.0,
    dir: Path | None = None,
    out: Path | None = None,
    processes: int | None = None,
    cluster: str | None = None,
    json: bool = False,
) -> int:
    """Draw what trains and what does not: gain budget, learning rate.

    Shows the borders that the theory predicts, from the closed form and the critical step; with --runs, fills the map with
    short runs. Existing runs are not made again: the same command continues after Ctrl-C, and a larger --runs adds runs
    between those that exist. Writes nothing without --runs or --out.

    Exit code: 0, or 2 for an unusable value.

    Args:
        config: the run, with the flags of train.
        target: MODULE:FUNCTION, your own function that returns a trainability.Setup; it takes no flags of train.
        recipe: TOML file with the same names, as for train.
        runs: number of short runs, spread evenly over the map; 425 fill it.
        steps: most steps of a short run.
        seconds: most seconds for the borders.
        dir: folder of the runs and the page. None takes runs/maps/NAME; NAME depends on the runs.
        out: file of the page. None writes map.html into the folder, if there are runs.
        processes: runs at the same time, each on one core. None takes one per core.
        cluster: address of a Dask scheduler, tcp://HOST:PORT, to make the runs there (needs the extra cluster).
        json: print JSON.
    """
    from trainability.executors import check_flags, executor_of

    in_range("runs", runs, at_least=0)
    in_range("steps", steps, at_least=60, at_most=10**6)
    in_range("seconds", seconds, above=0)
    if target is not None and (recipe is not None or config != RunConfig()):
        raise ValueError(f"map {target} is for what your function returns; it takes no --recipe and no flags of train")
    check_flags(processes, cluster)
    from trainability.checking import phase_map as maps
    from trainability.prescribe.phase_map import outcomes

    program = _program(config, target, steps)
    if target is not None:
        show_what_to_fix_first(target, as_json=json)
    found = maps.map_of(program, steps=steps, seconds=seconds)
    folder = dir or FOLDER / maps.name_of(program).replace(":", ".")
    made: dict[Cell, ShortRun] = maps.read_runs(folder) if runs else {}
    if runs:
        made = _with_progress(
            lambda progress: maps.run_cells(
                program, found, runs, folder=folder, executor=lambda: executor_of(processes, cluster), progress=progress
            )
        )
        out = out or folder / PAGE
    ends = outcomes(made)
    if out is not None:
        from trainability.report.phase_map import write_map

        write_map(out, found, made, ends, title=_title(program.config, target))
    if json:
        print(json_module.dumps(_plain(found, made), indent=2, allow_nan=False))
    else:
        _print(found, ends, out)
    return 0


def _program(config: RunConfig, target: str | None, steps: int) -> Program:
    """Return the program that is mapped: the user's function, or the run that the flags describe."""
    from trainability.checking.program import Program

    if target is not None:
        return Program(target=target)
    # Nothing is rehearsed, so that no images are loaded for it.
    complete = dataclasses.replace(config, run=dataclasses.replace(config.run, rehearse_seconds=None)).completed()
    return Program(config=complete, num_images=min(steps, 200) * complete.optim.batch_size)


def _print(found: PhaseMap, ends: dict[Cell, Outcome], out: Path | None) -> None:
    from trainability.terminal.console import plain_console
    from trainability.terminal.phase_map import print_map

    console = plain_console()
    print_map(console, found, ends)
    if out is not None:
        console.print(str(out), highlight=False, soft_wrap=True)


def _with_progress(work: Callable[[Any], dict[Cell, ShortRun]]) -> dict[Cell, ShortRun]:
    from trainability.cli.progress import progress_of
    from trainability.terminal.console import plain_console

    console = plain_console()
    try:
        with progress_of(console) as progress:
            return work(progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("; the same command continues") from None


def _title(config: RunConfig | None, target: str | None) -> str:
    return str(target) if config is None else f"VGG-{config.model.config} on {config.data.name}, {config.init.plan}"


def _plain(phase_map: PhaseMap, made: dict[Cell, ShortRun]) -> dict[str, Any]:
    """Return the map for JSON: the prediction for every cell, and the outcome of its run."""
    from trainability.prescribe.phase_map import Cell, outcomes, to_plain

    ends = outcomes(made)
    rows = []
    for budget in phase_map.budgets:
        for lr in phase_map.rates:
            cell = Cell(budget=budget, lr=lr)
            run = made.get(cell)
            row = {"budget": budget, "lr": lr, "predicted": phase_map.predicted(budget, lr), "outcome": ends.get(cell)}
            stay = phase_map.stay(budget, lr)
            row["predicted_stay"] = "inf" if stay == math.inf else stay
            if run is not None:
                row |= {"steps": run.steps, "left_chance_step": run.left_chance_step}
            rows.append(row)
    return {
        **to_plain(phase_map),
        "here": dataclasses.asdict(phase_map.here),
        "predicted": phase_map.predicted(phase_map.budget, phase_map.lr),
        "cells": rows,
    }
