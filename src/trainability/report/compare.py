"""One page that compares several run directories."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainability.doctor import markup
from trainability.doctor.layer_table import power
from trainability.doctor.told import told
from trainability.evaluation.reference import Against
from trainability.extras import require
from trainability.formats import NONE, duration, finite, number, percent
from trainability.report import other_loop, overlay, page, signal_figures, summary
from trainability.report.against import Reference
from trainability.report.compared_errors import compared_errors
from trainability.report.diagnosis_section import last_findings
from trainability.report.html import REPORT, find_reference, smoothest
from trainability.report.look import LEGEND, NUM_RUN_COLOURS
from trainability.report.marks import plateau_steps
from trainability.report.series import steps_per_epoch
from trainability.training.record import Run, read_run
from trainability.training.run_verdict import run_verdict

if TYPE_CHECKING:
    import pandas as pd

COMPARISON = "comparison.html"
Table = list[tuple[str, list[str]]]

MOST_SHOWING_STEPS = 3
"""Most runs for which the curves of every step are shown at first; with more, the curves hide each other."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A run on the page.

    Attributes:
        role: role of its colour.
        name: short and unique on the page.
        link: address of its report, relative to the page.
        status: of the run.
        run: the run.
    """

    role: str
    name: str
    link: str
    status: summary.Status
    run: Run


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs side by side. A notebook shows their results and what differs between them.

    Attributes:
        names: short and unique, one per run.
        runs: two or more.
    """

    names: tuple[str, ...]
    runs: tuple[Run, ...]

    @property
    def results(self) -> Table:
        """Verdict, errors, losses, cost: label, and a text for every run."""
        return result_rows(self.runs)

    @property
    def differences(self) -> Table:
        """Fields in which the configurations differ, and their values; fields that only some runs have are left out."""
        return configured_differences(self.runs).rows

    def to_pandas(self) -> pd.DataFrame:
        """Return results and differences as texts, a row for each and a column for every run.

        Raises:
            MissingExtra: pandas is not installed.
        """
        require("notebook")
        import pandas as pd

        rows = [*self.results, *self.differences]
        return pd.DataFrame([values for _, values in rows], index=pd.Index([label for label, _ in rows]), columns=self.names)

    def _repr_html_(self) -> str:
        columns, texts = ("", *self.names), [True] * (1 + len(self.names))
        results, differences = ([(label, *values) for label, values in rows] for rows in (self.results, self.differences))
        parts = [markup.heading(f"Comparison of {len(self.runs)} runs"), markup.table(columns, results, texts=texts)]
        if differences:
            parts += [markup.heading("What differs"), markup.table(columns, differences, texts=texts)]
        return markup.block(*parts)

    def write(self, out: Path | str | None = None, *, against: Against | None = None) -> Path:
        """Write one page that compares the runs.

        Args:
            out: the page; `None` takes comparison.html next to the first run's directory.
            against: published errors to draw with those of the runs.

        Raises:
            ValueError: its folder does not exist.
            OSError: the page cannot be written.
        """
        places = [run.folder.resolve() for run in self.runs]
        first = self.runs[0].folder
        path = Path(out) if out is not None else (first if first.name else first.resolve()).parent / COMPARISON
        if not path.parent.is_dir():
            raise ValueError(f"{path} cannot be written: {path.parent} is not a directory")
        columns = [
            Column(
                role=f"run-{number % NUM_RUN_COLOURS + 1}",
                name=name,
                link=Path(os.path.relpath(place / REPORT, path.resolve().parent)).as_posix(),
                status=summary.status(run),
                run=run,
            )
            for number, (name, place, run) in enumerate(zip(self.names, places, self.runs, strict=True))
        ]
        return page.write(path, render(columns, against=against))


def compare(runs: Sequence[Run | Path | str]) -> Comparison:
    """Compare runs.

    Args:
        runs: runs or their directories, two or more.

    Raises:
        ValueError: one is not a run directory or is damaged, two are the same, or there are fewer than two.
    """
    if not isinstance(runs, Sequence) or isinstance(runs, str):
        raise ValueError(f"runs is {told(runs)}; expected two or more runs or their directories, as in ['runs/a', 'runs/b']")
    found = [run if isinstance(run, Run) else read_run(run) for run in runs]
    places = [run.folder.resolve() for run in found]
    if len(found) < 2:
        raise ValueError(f"a comparison needs two or more runs, and got {len(found)}")
    if len(set(places)) < len(places):
        twice = next(run.folder for run, place in zip(found, places, strict=True) if places.count(place) > 1)
        raise ValueError(f"{twice} is given twice; a comparison needs different runs")
    return Comparison(names=tuple(short_names(places)), runs=tuple(found))


def write_comparison(folders: Sequence[Path | str], *, out: Path | str | None = None, against: Against | None = None) -> Path:
    """Write one page that compares runs, as `compare(folders).write(out)` does.

    Args:
        folders: run directories, two or more.
        out: the page; `None` takes comparison.html next to the first run's directory.
        against: published errors to draw with those of the runs.

    Raises:
        ValueError: one is not a run directory or is damaged, or two are the same.
        OSError: the page cannot be written.
    """
    return compare(folders).write(out, against=against)


def short_names(places: Sequence[Path]) -> list[str]:
    """Name directories by the shortest ends of their paths that are unique."""
    for depth in range(1, max(len(place.parts) for place in places) + 1):
        names = ["/".join(place.parts[-depth:]) for place in places]
        if len(set(names)) == len(names):
            return names
    return [str(place) for place in places]


def render(columns: Sequence[Column], *, against: Against | None = None) -> str:
    """Make the page."""
    runs = [column.run for column in columns]
    reference, why = _common_reference(runs, against)
    budgets = [
        (column.name, column.role, total)
        for column in columns
        if (total := signal_figures.total_budget(column.run)) is not None
    ]
    configured = configured_differences(runs)
    is_validated = any("val_loss" in row or "val_top1_error" in row for run in runs for row in run.evaluations)
    return page.render(
        "comparison.html.jinja",
        title=_title(columns),
        columns=columns,
        results=result_rows(runs),
        configured=configured,
        surroundings=surrounding_differences(runs),
        starts=start_rows(runs),
        scale=signal_figures.budget_scale(budgets),
        figures=overlay.all_figures([(column.role, column.name, column.run) for column in columns], reference),
        kinds={role: LEGEND[role] for role in ("train-step", "train", *(["validation"] if is_validated else []))},
        shows_steps=len(runs) <= MOST_SHOWING_STEPS,
        smoothest=smoothest(max(len(run.steps) for run in runs)),
        has_epochs=all(steps_per_epoch(run) for run in runs),
        reference=reference,
        no_reference=why,
        percent=percent,
        errors=compared_errors([column.name for column in columns], runs),
    )


def _title(columns: Sequence[Column]) -> str:
    """Return what was trained; if all runs have the same network in loops other than `train`, the names of the runs."""
    runs = [column.run for column in columns]
    titles = list(dict.fromkeys(summary.title(run) if run.config else other_loop.model(run) for run in runs))
    if len(titles) > 1 or any(run.config for run in runs):
        return ", ".join(titles)
    return f"{titles[0]}: {', '.join(column.name for column in columns)}"


def _common_reference(runs: Sequence[Run], against: Against | None) -> tuple[Reference | None, str | None]:
    found = [find_reference(run, against) for run in runs]
    if len(set(found)) == 1:
        return found[0]
    return None, f"No reference line: with --against {against}, there is no published error that fits all runs."


@dataclass(frozen=True, kw_only=True)
class Differences:
    """Fields of the configurations, by the names of their flags; without `run.dir`.

    Attributes:
        rows: fields in which runs differ, and their value in every run.
        only_some: likewise, fields that only some runs have, with equal values in these runs.
        num_equal: number of fields that are equal in all runs.
    """

    rows: Table
    only_some: Table
    num_equal: int


def configured_differences(runs: Sequence[Run]) -> Differences:
    """Compare the configurations of runs; different kinds of loops have few fields in common."""
    found = [_configured(run) for run in runs]
    rows: Table = []
    only_some: Table = []
    num_equal = 0
    for name in dict.fromkeys(name for fields in found for name in fields):
        values = [fields.get(name, NONE) for fields in found]
        if len(set(values)) == 1:
            num_equal += 1
        elif name != "run.dir":
            (rows if len(set(values) - {NONE}) > 1 else only_some).append((name, values))
    return Differences(rows=rows, only_some=only_some, num_equal=num_equal)


def _configured(run: Run) -> dict[str, str]:
    """Return the fields of a run's configuration as text; for a loop other than `train`, the settings that the user gave."""
    if run.config is None:
        return dict(other_loop.settings(run).get("config", []))
    return {f"{section}.{flag}": value for section, rows in summary.settings(run).items() for flag, value in rows}


def surrounding_differences(runs: Sequence[Run]) -> Table:
    """List the differences in data and environment, without start time and command, which always differ."""
    found = [dict([*summary.data_facts(run), *summary.machine(run)]) for run in runs]
    names = [name for name in dict.fromkeys(name for facts in found for name in facts) if name not in ("Started", "Command")]
    rows = [(name, [facts.get(name, NONE) for facts in found]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]


_ALWAYS = ("Verdict", "Findings at the end")


def result_rows(runs: Sequence[Run]) -> Table:
    """List the progress and the errors of runs; rows without a value in any run are left out."""
    readers: dict[str, Callable[[Run], str]] = {
        "Verdict": run_verdict,
        "Why": lambda run: str((run.findings or {}).get("reason", NONE)),
        "Findings at the end": _findings,
        "Best top-1 error, validation": lambda run: _best(run, "val_top1_error"),
        "Last top-1 error, validation": lambda run: _last(run, "val_top1_error", percent),
        "Best top-5 error, validation": lambda run: _best(run, "val_top5_error"),
        "Last loss, validation": lambda run: _last(run, "val_loss", number),
        "Last loss, training": lambda run: _last(run, "train_loss", number),
        "Epochs, finished / planned": lambda run: f"{len(run.evaluations)} / {run.config.optim.epochs}" if run.config else NONE,
        "Steps": lambda run: f"{run.steps[-1]['step'] if run.steps else 0:,}",
        "Time of training": lambda run: duration(seconds) if (seconds := summary.train_seconds(run)) else NONE,
        "Images per second": lambda run: number(summary.speed(run), ",.0f"),
    }
    rows = [(name, [read(run) for run in runs]) for name, read in readers.items()]
    return [(name, values) for name, values in rows if name in _ALWAYS or any(value != NONE for value in values)]


def _findings(run: Run) -> str:
    return "; ".join(f"{finding.severity} {finding.rule}" for finding in last_findings(run)) or NONE


def _best(run: Run, key: str) -> str:
    measured = [row for row in run.evaluations if finite(row.get(key)) is not None]
    if not measured:
        return NONE
    best = min(measured, key=lambda row: row[key])
    when = f"epoch {best['epoch']}" if "epoch" in best else f"step {best['step']:,}"
    return f"{percent(best[key])}, {when}"


def _last(run: Run, key: str, write: Callable[[Any], str]) -> str:
    last = next((row for row in reversed(run.evaluations) if key in row), None)
    return write(last[key]) if last else NONE


def start_rows(runs: Sequence[Run]) -> Table:
    """List the initialisations and their predictions; empty if no run recorded any."""
    predicted = [plateau_steps(run) for run in runs]
    totals = [signal_figures.total_budget(run) for run in runs]
    rows = [
        ("Plan", [run.config.init.plan if run.config else NONE for run in runs]),
        ("Gain budget of the weights", [summary.init_table(run)[1] if run.init else NONE for run in runs]),
        ("Gain budget with the input", [NONE if total is None else power(total) for total in totals]),
        ("With this budget a net is", [NONE if total is None else signal_figures.zone(total) for total in totals]),
        ("Predicted steps at chance", [_steps(value) for value in predicted]),
    ]
    return rows if any(value != NONE for _, values in rows for value in values) else []


def _steps(value: float | None) -> str:
    return NONE if value is None else "never leaves chance" if value == float("inf") else f"{value:,.0f}"
