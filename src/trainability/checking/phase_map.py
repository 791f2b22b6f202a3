"""`map` of a program: its borders, and short runs on any executor, kept in a folder so that the same call goes on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainability import config as configuration
from trainability.checking.failures import failures_named
from trainability.checking.program import Program
from trainability.disk import whole
from trainability.doctor.measure.unusable import check_numbers_of
from trainability.executors import results
from trainability.prescribe import phase_map as maps
from trainability.prescribe.phase_map import Cell, PhaseMap
from trainability.prescribe.short_run import ShortRun, short_run

RUNS = "runs.jsonl"
ABOUT = "map.json"


@dataclass(frozen=True, kw_only=True)
class _Task:
    program: Program
    cell: Cell
    decades: float
    steps: int
    chance: float


def map_of(program: Program, *, steps: int, seconds: float) -> PhaseMap:
    """Measure the borders of a program's map, without training.

    Args:
        program: of the user.
        steps: of the runs that it speaks of.
        seconds: as for `prescribe.phase_map.phase_map`.

    Raises:
        ValueError: as that; or a part of the program fails, or its optimizer has a rate that is NaN, infinite or negative.
    """
    setup = program.setup()
    check_numbers_of(setup.optimizer)
    with failures_named(setup):
        return maps.phase_map(setup, steps=steps, seconds=seconds)


def run_cells(
    program: Program,
    phase_map: PhaseMap,
    count: int,
    *,
    folder: Path,
    executor: Callable[[], Any],
    progress: Callable[[str, int, int | None], None] | None = None,
) -> dict[Cell, ShortRun]:
    """Make short runs, `count` in all with those that the folder holds; each is kept as soon as it has ended.

    Args:
        program: of the map.
        phase_map: its borders, grid and steps.
        count: of runs.
        folder: made if it is not there.
        executor: opens, as a context, what the runs are made on; not called where none is missing.
        progress: called with what is done, how many are, and of how many.

    Returns:
        Every run of the folder that lies on the grid.

    Raises:
        ValueError: the folder holds the runs of another program.
    """
    _claim(folder, program, phase_map)
    wanted = maps.cells(phase_map, count)
    done = read_runs(folder)
    missing = [cell for cell in wanted if cell not in done]
    if progress is not None:
        progress("runs", len(wanted) - len(missing), len(wanted))
    if not missing:
        return done
    tasks = {
        cell.name: _Task(
            program=program,
            cell=cell,
            decades=cell.budget - phase_map.budget,
            steps=phase_map.steps,
            chance=phase_map.chance,
        )
        for cell in missing
    }
    with executor() as pool, (folder / RUNS).open("a", encoding="utf-8") as file:
        for name, run in _finished(pool, tasks):
            row = {"name": name, **dataclasses.asdict(tasks[name].cell), **_finite(dataclasses.asdict(run))}
            file.write(json.dumps(row) + "\n")
            file.flush()
            done[tasks[name].cell] = run
            if progress is not None:
                progress("runs", sum(cell in done for cell in wanted), len(wanted))
    return done


def _finished(executor: Executor, tasks: dict[str, _Task]) -> Iterator[tuple[str, ShortRun]]:
    return results(executor, _run, tasks)


def _run(task: _Task) -> ShortRun:
    return short_run(task.program.setup(), decades=task.decades, lr=task.cell.lr, steps=task.steps, chance=task.chance)


def read_runs(folder: Path) -> dict[Cell, ShortRun]:
    """Read the runs of a folder; a line that was cut off is left out, and its run is made again."""
    found: dict[Cell, ShortRun] = {}
    path = folder / RUNS
    if not path.is_file():
        return found
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
            cell = Cell(budget=float(row["budget"]), lr=float(row["lr"]))
            fields: dict[str, Any] = {field.name: row[field.name] for field in dataclasses.fields(ShortRun)}
            fields |= {name: float(fields[name]) for name in ("first_loss", "last_loss")}  # "inf" where it is not finite
        except (ValueError, KeyError, TypeError):
            continue
        found[cell] = ShortRun(**fields)
    return found


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """Losses as JSON takes them: what is not finite as text."""
    return {
        name: str(value) if isinstance(value, float) and not -1e300 < value < 1e300 else value for name, value in row.items()
    }


def _claim(folder: Path, program: Program, phase_map: PhaseMap) -> None:
    """Write down whose runs a folder holds, or refuse another's."""
    own = {"program": name_of(program), "steps": phase_map.steps, "budget": phase_map.budget}
    path = folder / ABOUT
    if path.is_file():
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise ValueError(f"{path} is damaged; move the folder away, or choose another --dir") from None
        if {key: stored.get(key) for key in own} != own:
            changed = next(key for key in own if stored.get(key) != own[key])
            raise ValueError(f"{folder} holds the runs of another map ({changed}); move it away, or choose another --dir")
        _end_last_line(folder / RUNS)
        return
    folder.mkdir(parents=True, exist_ok=True)
    whole.write(path, json.dumps(own, indent=1).encode())


def _end_last_line(path: Path) -> None:
    """End a line that was cut off, so that the next one is one of its own."""
    if path.is_file() and (text := path.read_bytes()) and not text.endswith(b"\n"):
        with path.open("ab") as file:
            file.write(b"\n")


def name_of(program: Program) -> str:
    """Name a program by what it is: MODULE:FUNCTION, or data, network and a hash of the fields that decide its runs."""
    if program.config is None:
        return str(program.target)
    config = program.config
    kept = dataclasses.replace(config, run=dataclasses.replace(config.run, dir=None))
    digest = hashlib.sha256(configuration.to_toml(kept).encode()).hexdigest()[:8]
    return f"{config.data.name}-{config.model.config}-{digest}"
