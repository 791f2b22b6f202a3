"""Summaries of run directories, for the list of runs, and run directories by name. No torch.

A summary reads the small files of a run, the last steps of a run that has ended, and no checkpoint, so a folder of a thousand
runs is listed in seconds. A run with a damaged file is listed too, with the problem in place of its numbers.
"""

from __future__ import annotations

import os
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainability.config import nearest
from trainability.formats import finite
from trainability.training.folder_verdict import folder_verdict
from trainability.training.record import CONFIG, ENVIRONMENT, EVALUATIONS, FINDINGS, LOOP, check_is_run, runs_inside
from trainability.training.rows import read_json, read_rows
from trainability.training.run_state import State, run_state

ROOT = Path("runs")
"""Default folder in which `train` makes run directories."""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """A line of the list of runs.

    Attributes:
        name: of the run directory, relative to the folder that is listed.
        net: the configuration of VGG, or the name of the model in the user's own program.
        data: name of the data set.
        arguments: of the user's own script; `None` for a run of `train`, which has a configuration.
        state: one of `run_state`, or damaged.
        epoch: epochs done.
        epochs: epochs planned; `None` if the run's configuration does not say.
        best_top1_error: smallest validation top-1 error, in [0, 1]; `None` before the first evaluation.
        verdict: the doctor's last verdict, in the tense of the run's state.
        train_seconds: spent training, over all sessions of the run; evaluations and start not counted.
        started: time of its (last) start, ISO 8601, UTC.
        problem: what is wrong with the directory, if it is damaged.
    """

    name: str
    net: str | None = None
    data: str | None = None
    arguments: str | None = None
    state: State
    epoch: int = 0
    epochs: int | None = None
    best_top1_error: float | None = None
    verdict: str | None = None
    train_seconds: float | None = None
    started: str | None = None
    problem: str | None = None


def run_folders(root: Path) -> Iterator[Path]:
    """List the run directories below a folder, sorted by name. Run directories are not searched for further ones.

    Raises:
        ValueError: there is no such folder.
    """
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder; runs are listed below a folder, by default {ROOT}")
    for folder, below, files in os.walk(root):
        below.sort()
        if CONFIG in files or LOOP in files:
            below.clear()
            yield Path(folder)


def summarise(folder: Path, *, root: Path) -> RunSummary:
    """Summarise a run directory in any state.

    Args:
        folder: the run directory.
        root: folder to which its name is relative.
    """
    name = str(folder.relative_to(root)) if folder != root else folder.name
    try:
        return _summary(folder, name)
    except (ValueError, TypeError, KeyError, OSError) as error:
        return RunSummary(name=name, state="damaged", problem=str(error))


def _summary(folder: Path, name: str) -> RunSummary:
    loop = read_json(folder / LOOP, {})
    settings = {} if loop else tomllib.loads((folder / CONFIG).read_text(encoding="utf-8"))
    evaluations = read_rows(folder / EVALUATIONS)
    findings = read_json(folder / FINDINGS, {})
    result = read_json(folder / "result.json", None)
    environment = read_json(folder / ENVIRONMENT, {})
    last: dict[str, Any] = evaluations[-1] if evaluations else {}
    best = [error for row in evaluations if (error := finite(row.get("val_top1_error"))) is not None]
    seconds = [spent for row in evaluations if (spent := finite(row.get("train_seconds"))) is not None]
    return RunSummary(
        name=name,
        net=loop["model"] if loop else _setting(settings, "model", "config"),
        data=_setting(settings, "data", "name"),
        arguments=shlex.join(environment.get("command", [])[1:]) if loop else None,
        state=run_state(folder, result),
        epoch=last.get("epoch", 0),
        epochs=_setting(settings, "optim", "epochs"),
        best_top1_error=min(best, default=None),
        verdict=folder_verdict(folder, findings["verdict"]) if "verdict" in findings else None,
        train_seconds=sum(seconds) if seconds else None,
        started=environment.get("started"),
    )


def _setting(settings: dict[str, Any], section: str, name: str) -> Any:
    values = settings.get(section)
    return values.get(name) if isinstance(values, dict) else None


def find_runs(given: Path | str) -> list[Path]:
    """Find a run directory as `find_run` does, or all run directories of a loop with several optimizers.

    Args:
        given: path or name of a run directory, or of the directory that holds those of one loop.

    Raises:
        ValueError: as `find_run`.
    """
    for folder in (Path(given), ROOT / given):
        if (
            folder.is_dir()
            and not any((folder / name).is_file() for name in (CONFIG, LOOP))
            and (inside := runs_inside(folder))
        ):
            return inside
    return [find_run(given)]


def find_run(given: Path | str) -> Path:
    """Find a run directory by its path, or by its name below `runs`.

    Args:
        given: path of a run directory; or name of one, as `trainability runs` prints it.

    Raises:
        ValueError: neither is a run directory; the message names the nearest run.
    """
    path = Path(given)
    if path.exists():
        check_is_run(path)
        return path
    if not path.is_absolute() and (ROOT / path).is_dir():
        check_is_run(ROOT / path)
        return ROOT / path
    known = [str(folder.relative_to(ROOT)) for folder in run_folders(ROOT)] if ROOT.is_dir() else []
    near = nearest(str(given), known) if known else ""
    near = near if "did you mean" in near else "; trainability runs lists those below runs"
    raise ValueError(f"{given}: no such run directory (it would hold a {CONFIG} or {LOOP}){near}")
