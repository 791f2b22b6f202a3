"""The book of trials in a terminal: the list, the progress of its runs, the verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trainability.terminal.console import plain_console
from trainability.trials.book import FURTHER, TRIALS, select
from trainability.trials.scales import Scale
from trainability.trials.trial import Variant

if TYPE_CHECKING:
    from trainability.trials.run import Result

_COLOURS = {"holds": "green", "does not hold": "red", "cannot be told": "yellow"}


def print_book() -> None:
    """Print every trial, its chapter, its data and what the log reports."""
    table = Table(title="The trials of the public training log", title_justify="left")
    for name in ("trial", "chapter", "data", "the log reports"):
        table.add_column(name, no_wrap=name in ("trial", "chapter"))
    chapter = None
    for trial in TRIALS.values():
        if chapter not in (None, trial.chapter):
            table.add_section()
        chapter = trial.chapter
        table.add_row(trial.id, trial.chapter, trial.data, trial.reports)
    console = plain_console()
    console.print(table)
    console.print(FURTHER, highlight=False)
    console.print(
        "Run some: trainability trials run caltech-1 cliffs, or all of them: trainability trials run all", highlight=False
    )


def replay_book(
    names: Sequence[str],
    *,
    scale: Scale,
    variants: Sequence[Variant],
    data_path: Path | None,
    root: Path,
    num_processes: int | None,
    keep_weights: bool,
) -> int:
    """Make runs and print the verdicts; see `cli.trials.run_trials`. Returns 1 if a run could not be made."""
    chosen = select(tuple(names))
    from trainability.trials import run as trial_runs  # imports torch; unknown names were refused before

    jobs = trial_runs.jobs_of(chosen, scale, variants, data_path=data_path)
    console = plain_console()
    console.print(f"{len(jobs)} runs of {len(chosen)} trials at {scale} scale, into {root / scale}", highlight=False)
    count = 0

    def told(done: trial_runs.Done) -> None:
        nonlocal count
        count += 1
        how = done.problem or ("exists" if done.was_there else f"{done.seconds:.0f} s")
        style = "red" if done.problem else None
        console.print(
            f"[{count}/{len(jobs)}] {done.job.name}: {how}", style=style, highlight=False, markup=False, soft_wrap=True
        )

    try:
        done = trial_runs.replay(jobs, root, num_processes=num_processes, keep_weights=keep_weights, told=told)
    except KeyboardInterrupt:
        console.print("interrupted; the same command continues", highlight=False)
        raise
    problems: list[str] = []
    print_verdicts(console, [trial_runs.result_of(trial, scale, root, problems) for trial in chosen])
    for problem in problems:
        console.print(problem, style="red", highlight=False, markup=False, soft_wrap=True)
    console.print("The book as a page: trainability trials report", highlight=False)
    return 1 if any(row.problem for row in done) else 0


def print_verdicts(console: Console, results: Sequence[Result]) -> None:
    """Print for every trial what the log says, what was measured, and whether the log's explanation holds; then the counts."""
    from trainability.trials.report.table import NOT_MADE, row_of

    rows = [row_of(result) for result in results]
    for row in rows:
        console.print()
        head = Text(row.trial, style="bold")
        if row.measured != (NOT_MADE,):
            head.append(f"  {row.seen}; " if row.seen != "not measured" else "  ", style="dim")
            head.append(f"the log's explanation {row.explanation}", style=f"bold {_COLOURS[row.explanation]}")
        console.print(head)
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True, style="dim", min_width=10)
        table.add_column(overflow="fold")
        table.add_row("  log", f"{row.says} {row.claim}")
        for number, line in enumerate(row.measured):
            table.add_row("" if number else "  measured", Text(line))
        if row.cause:
            table.add_row("  cause", Text(row.cause))
        if row.not_shown:
            table.add_row("  not here", Text(row.not_shown, style="dim"))
        console.print(table)
    made = [row for row in rows if row.measured != (NOT_MADE,)]
    counts = ", ".join(f"{sum(row.explanation == word for row in made)} {word}" for word in _COLOURS)
    console.print(f"\n{len(made)} of {len(rows)} trials run; the log's explanations: {counts}", highlight=False)
