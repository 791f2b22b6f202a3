"""`trainability trials list`: what the log is, and what the runs of every trial cost."""

from __future__ import annotations

import io

from rich.console import Console

from trainability.cli.book import print_book
from trainability.trials.book import LOG, TRIALS
from trainability.trials.cost import cost_seconds, num_runs


def test_every_trial_has_its_runs_and_minutes_and_all_have_their_sum() -> None:
    console = Console(width=160, file=io.StringIO())
    print_book(console)
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.splitlines() if line.startswith("│")]
    by_name = {row[0]: row[1:4] for row in rows if row[0]}
    for name, trial in TRIALS.items():
        seconds = cost_seconds(trial, "pocket")
        assert seconds is not None
        assert by_name[name][:2] == [str(num_runs(trial)), str(max(1, round(seconds / 60)))]
    total = sum(seconds for trial in TRIALS.values() if (seconds := cost_seconds(trial, "pocket")) is not None)
    assert by_name["all"][:2] == [str(sum(map(num_runs, TRIALS.values()))), f"{total / 60:.0f}"]
    assert " ".join(printed.split("The trials of the log")[0].split()) == LOG


def test_a_chapter_names_all_its_data_sets() -> None:
    console = Console(width=160, file=io.StringIO())
    print_book(console)
    assert isinstance(console.file, io.StringIO)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in console.file.getvalue().splitlines()]
    heads = {row[0]: row[4] for row in rows if row and row[0] and row[0] not in (*TRIALS, "all")}
    for trial in TRIALS.values():
        assert trial.data in heads[trial.chapter].partition("(")[2]
