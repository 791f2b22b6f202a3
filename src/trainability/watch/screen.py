"""`trainability watch`: a screen that refreshes in a terminal, one line per event elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live

from trainability.doctor.view import verdict_title
from trainability.formats import duration
from trainability.terminal.console import plain_console
from trainability.terminal.display import epoch_line, evaluation_line
from trainability.training.folder_verdict import folder_verdict
from trainability.training.run_state import run_state
from trainability.watch.state import LiveRun
from trainability.watch.view import ending, findings, is_silent, title, view

_RESIZE_SECONDS = 0.2
_TOLD = ("seen", "change", "more")  # parts of a finding that are shown in one line


def watch_run(*folders: Path, every: float, once: bool) -> None:
    """Show a run, or the runs of a loop with several optimizers, until it ends; their files are only read.

    Args:
        folders: run directories.
        every: seconds between two reads.
        once: draw it once, and return.

    Raises:
        ValueError: it is not a run directory, or `every` is out of range.
    """
    if not 0.1 <= every <= 3600:
        raise ValueError(f"every is {every:g}; accepted: 0.1 to 3600 seconds")
    runs, console = [LiveRun(folder) for folder in folders], plain_console()
    if once:
        # Print the prompt below.
        is_whole = not console.is_terminal
        console.print(_views(runs, width=console.width, height=console.height - 1, is_whole=is_whole))
    elif console.is_terminal and not console.is_dumb_terminal:
        _draw(runs, console, every)
    else:
        _tell(runs, every)


def _views(runs: list[LiveRun], *, width: int, height: int, is_whole: bool = False) -> Group:
    """Draw the runs one below the other, each in an equal part of the height."""
    return Group(*(view(run, width=width, height=height // len(runs), is_whole=is_whole) for run in runs))


def _draw(runs: list[LiveRun], console: Console, every: float) -> None:
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            size = console.size
            live.update(_views(runs, width=size.width, height=size.height), refresh=True)
            if all(run.result is not None for run in runs):
                break
            until = time.monotonic() + every
            while time.monotonic() < until and console.size == size:
                time.sleep(_RESIZE_SECONDS)
            for run in runs:
                run.poll()
    # The view clears its screen at the end; print its last state, which stays above the prompt.
    console.print(_views(runs, width=console.width, height=console.height - 1))


def _tell(runs: list[LiveRun], every: float) -> None:
    told = [(f"{run.folder.name}: " if len(runs) > 1 else "", EventLines(run)) for run in runs]
    try:
        while True:
            for part, lines in told:
                for line in lines.news():
                    print(f"{part}{line}", flush=True)
            if all(run.result is not None for run in runs):
                return
            time.sleep(every)
            for run in runs:
                run.poll()
    except BrokenPipeError:
        # The reader closed the pipe, as `head` does; nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class EventLines:
    """Reports new events as lines, each once."""

    def __init__(self, run: LiveRun) -> None:
        """Begin with nothing reported."""
        self.run = run
        self.has_begun = False
        self.epochs: list[dict[str, Any]] = []
        self.verdict = ""
        self.severities: dict[str, str] = {}
        self.num_restarts = 0
        self.problems: list[str] = []
        self.silence = 0.0

    def news(self) -> Iterator[str]:
        """Yield a line for every new event; the end of the run comes last."""
        run = self.run
        if not self.has_begun:
            self.has_begun = True
            epochs = f", {run.config.optim.epochs} epochs" if run.config is not None else ""
            yield f"{title(run)}{epochs}: {run.folder}"
            if run.step is None and run.result is None:
                yield "waiting for the first step"
        yield from (f"note: {problem}" for problem in run.problems if problem not in self.problems)
        self.problems = run.problems
        if run.num_restarts > self.num_restarts:
            self.num_restarts = run.num_restarts
            yield "the run was resumed from a checkpoint; later steps and epochs are replaced"
        yield from self._findings()
        for row in run.evaluations:
            if row not in self.epochs:
                yield epoch_line(row, run.config.optim.epochs) if run.config is not None else evaluation_line(row)
        self.epochs = list(run.evaluations)
        yield from self._silence()
        if run.result is not None:
            yield ending(run)

    def _findings(self) -> Iterator[str]:
        said = self.run.findings
        if not said:
            return
        if (verdict := folder_verdict(self.run.folder, said["verdict"])) != self.verdict:
            self.verdict = verdict
            when = f"step {said['step']:,}" if said["step"] else "check"
            title = verdict_title(self.verdict, said.get("remaining_steps"))
            yield f"{when}: {title}: {said['reason']}"
        for item in findings(self.run):
            if self.severities.get(item.rule) == item.severity:
                continue
            self.severities[item.rule] = item.severity
            if item.severity == "hint":
                yield item.line
            else:
                parts = "; ".join(f"{name}: {text}" for name, text in item.rows if name in _TOLD)
                yield f"{item.heading}; {parts}"

    def _silence(self) -> Iterator[str]:
        """Report that the run has stopped writing, and again whenever the silent time has doubled."""
        if not is_silent(self.run):
            self.silence = 0.0
        elif self.run.silent_seconds >= 2 * self.silence:
            self.silence = self.run.silent_seconds
            yield f"no record for {duration(self.silence)}: {run_state(self.run.folder, None)}"
