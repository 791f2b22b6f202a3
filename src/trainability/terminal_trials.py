"""The book of trials in a terminal: its list, its runs as they are made, its verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from trainability.trials.book import FURTHER, TRIALS, select


def print_book() -> None:
    """Print every trial, its chapter, its data and what the seed reports."""
    table = Table(title="The seed's trials", title_justify="left")
    for name in ("trial", "chapter", "data", "the seed reports"):
        table.add_column(name, no_wrap=name in ("trial", "chapter"))
    chapter = None
    for trial in TRIALS.values():
        if chapter not in (None, trial.chapter):
            table.add_section()
        chapter = trial.chapter
        table.add_row(trial.id, trial.chapter, trial.data, trial.reports)
    console = Console()
    console.print(table)
    console.print(FURTHER, highlight=False)
    console.print(
        "Run some: trainability trials run caltech-1 cliffs, or all of them: trainability trials run all", highlight=False
    )


def replay_book(
    names: Sequence[str],
    *,
    scale: str,
    variants: Sequence[str],
    data_path: Path | None,
    root: Path,
    num_processes: int | None,
    keep_weights: bool,
) -> int:
    """Make runs and print the verdicts; see `cli.run_trials`. Returns 1 if a run could not be made."""
    chosen = select(tuple(names))
    from trainability.trials import replay  # imports torch: a name that is none is refused at once

    jobs = replay.jobs_of(chosen, scale, variants, data_path=data_path)  # type: ignore[arg-type]
    console = Console()
    console.print(f"{len(jobs)} runs of {len(chosen)} trials at {scale} scale, into {root / scale}", highlight=False)
    count = 0

    def told(done: replay.Done) -> None:
        nonlocal count
        count += 1
        how = done.problem or ("there already" if done.was_there else f"{done.seconds:.0f} s")
        style = "red" if done.problem else None
        console.print(
            f"[{count}/{len(jobs)}] {done.job.name}: {how}", style=style, highlight=False, markup=False, soft_wrap=True
        )

    done = replay.replay(jobs, root, num_processes=num_processes, keep_weights=keep_weights, told=told)
    console.print(verdict_table([replay.result_of(trial, scale, root) for trial in chosen]))  # type: ignore[arg-type]
    return 1 if any(row.problem for row in done) else 0


def verdict_table(results: Sequence[object]) -> Table:
    """Tabulate what the seed says, what was measured, and whether its explanation holds."""
    from trainability.trials.table import row_of

    table = Table(title="The seed says, measured, and the explanation", title_justify="left", show_lines=True)
    for name in ("trial", "the seed says", "measured", "so seen", "explanation", "cause, by the doctor"):
        table.add_column(name, overflow="fold")
    for result in results:
        row = row_of(result)  # type: ignore[arg-type]
        seen = {"as the seed saw it": "yes", "not as the seed saw it": "no"}.get(row.seen, "–")
        shown = "\n".join(row.measured) + (f"\nnot at this scale: {row.not_shown}" if row.not_shown else "")
        table.add_row(row.trial, row.says, shown, seen, row.explanation, row.cause)
    return table
