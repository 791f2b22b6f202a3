"""The book of trials in a terminal: the list, the progress of its runs, the verdicts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trainability.executors import executor_of
from trainability.terminal.console import plain_console
from trainability.trials.book import FURTHER, LOG, TRIALS, select
from trainability.trials.cost import cost_seconds, num_runs
from trainability.trials.scales import Scale, find_places
from trainability.trials.trial import Answer, Trial, Variant

if TYPE_CHECKING:
    from trainability.trials.run import FinishedJob, Job, Result

_COLOURS: dict[Answer, str] = {"yes": "green", "no": "red", "open": "yellow", "none": "dim"}


def print_book(console: Console) -> None:
    """Print every trial: its chapter, data, number of runs, their time on one core, and what the log reports."""
    console.print(LOG, highlight=False)
    console.print()
    table = Table(title="The trials of the log", title_justify="left")
    for name in ("trial", "runs", "min", "real", "the log reports"):
        is_number = name in ("runs", "min", "real")
        table.add_column(name, no_wrap=name in ("trial", "runs", "min"), justify="right" if is_number else "left")
    chapter = None
    for trial in TRIALS.values():
        if trial.chapter != chapter:
            table.add_section()
            sets = dict.fromkeys(other.data for other in TRIALS.values() if other.chapter == trial.chapter)
            table.add_row(
                Text(trial.chapter, style="bold"), "", "", "", Text(f"{trial.section} ({', '.join(sets)})", style="bold")
            )
        chapter = trial.chapter
        costs = [_minutes(trial, scale) for scale in ("pocket", "desk")]
        table.add_row(trial.id, str(num_runs(trial)), *costs, trial.reports)
    table.add_section()
    table.add_row(Text("all", style="bold"), str(sum(map(num_runs, TRIALS.values()))), *map(_all_minutes, ("pocket", "desk")))
    console.print(table)
    console.print(
        "runs: with and without the bugs, and one per seed; or probes. min: minutes of one core for all of them; they are made "
        f"side by side, here on {len(os.sched_getaffinity(0))} cores. real: the same minutes on the real set, at 32 pixels and "
        "a quarter of the width (--data-root DIR); where there is none, it needs a GPU (--scale full).",
        highlight=False,
    )
    console.print(FURTHER, highlight=False)
    console.print(
        "Run some: trainability trials run caltech-1 cliffs, or all of them: trainability trials run all", highlight=False
    )


def _minutes(trial: Trial, scale: Scale) -> str:
    seconds = cost_seconds(trial, scale) if scale == "pocket" or not trial.plans else None
    return "–" if seconds is None else f"{max(1, round(seconds / 60))}"


def _all_minutes(scale: Scale) -> str:
    known = [cost_seconds(trial, scale) for trial in TRIALS.values() if scale == "pocket" or not trial.plans]
    return f"{sum(seconds for seconds in known if seconds is not None) / 60:.0f}"


def replay_book(
    names: Sequence[str],
    *,
    scale: Scale | None,
    variants: Sequence[Variant],
    data_root: Path | None,
    data_paths: Sequence[str],
    root: Path,
    num_processes: int | None,
    cluster: str | None,
    keep_weights: bool,
) -> int:
    """Make runs and print the verdicts; see `cli.trials.run_trials`. Returns 1 if a run could not be made."""
    chosen = select(tuple(names))
    places = find_places(data_root, data_paths)
    from trainability.trials import run as trial_runs  # imports torch: a name that is none is refused at once

    jobs = trial_runs.jobs_of(chosen, scale, variants, places=places)
    console = plain_console()
    console.print(_announced(jobs, root, num_processes, on_cluster=cluster is not None), highlight=False)
    count = 0

    def on_finished(done: FinishedJob) -> None:
        nonlocal count
        count += 1
        how = done.problem or ("exists" if done.was_there else f"{done.seconds:.0f} s")
        style = "red" if done.problem else None
        console.print(
            f"[{count}/{len(jobs)}] {done.job.name}: {how}", style=style, highlight=False, markup=False, soft_wrap=True
        )

    try:
        done = trial_runs.replay(
            jobs,
            root if cluster is None else root.absolute(),  # other machines may have another working directory
            executor=lambda: executor_of(num_processes if cluster else trial_runs.processes_for_trials(num_processes), cluster),
            keep_weights=keep_weights,
            on_finished=on_finished,
        )
    except KeyboardInterrupt:
        console.print("interrupted; the same command continues", highlight=False)
        raise
    problems: list[str] = []
    scales: dict[Scale, None] = {job.scale: None for job in jobs}
    for at in scales:
        made = [trial for trial in chosen if trial.plans or any(job.scale == at and job.trial == trial.id for job in jobs)]
        if at != "pocket":
            console.print(f"\nScale {at}", style="bold", highlight=False)
        print_verdicts(console, [trial_runs.result_of(trial, at, root, problems) for trial in made])
    for problem in problems:
        console.print(problem, style="red", highlight=False, markup=False, soft_wrap=True)
    console.print("The book as a page: trainability trials report", highlight=False)
    return 1 if any(row.problem for row in done) else 0


def _announced(jobs: Sequence[Job], root: Path, num_processes: int | None, *, on_cluster: bool) -> str:
    """Describe the runs that will be made, and how long they take on the available cores."""
    cores = num_processes or len(os.sched_getaffinity(0))
    per_scale: Mapping[Scale, list[Job]] = {job.scale: [] for job in jobs}
    for job in jobs:
        per_scale[job.scale].append(job)
    parts = []
    for scale, own in per_scale.items():
        known = [job.cost_seconds for job in own]
        total = sum(seconds for seconds in known if seconds is not None)
        cost = (
            f", about {max(1, round(total / cores / 60))} minutes on {cores} cores"
            if None not in known and not on_cluster
            else ""
        )
        parts.append(f"{len(own)} runs of {len({job.trial for job in own})} trials at {scale} scale, into {root / scale}{cost}")
    return "; ".join(parts)


def print_verdicts(console: Console, results: Sequence[Result]) -> None:
    """Print per trial what the log says, what was measured, and whether its explanation holds; then count."""
    from trainability.trials.report.markdown import counted
    from trainability.trials.report.table import HOLDS_WORDS, SEEN_WORDS, row_of

    for result in results:
        row = row_of(result)
        console.print()
        head = Text(row.trial, style="bold")
        if row.seen != "none":
            head.append(
                f"  {SEEN_WORDS[row.seen] if row.seen != 'open' else 'as the log saw it: cannot be told'}; ", style="dim"
            )
            head.append(f"the log's explanation {HOLDS_WORDS[row.holds]}", style=f"bold {_COLOURS[row.holds]}")
        console.print(head)
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True, style="dim", min_width=10)
        table.add_column(overflow="fold")
        table.add_row("  log", f"{row.says} {row.claim}")
        for number, line in enumerate(row.measured or ("not run",)):
            table.add_row("" if number else "  measured", Text(line))
        if row.cause:
            table.add_row("  cause", Text(row.cause))
        if row.not_shown:
            table.add_row("  not here", Text(row.not_shown, style="dim"))
        console.print(table)
    console.print(f"\n{counted(results)}", highlight=False)
