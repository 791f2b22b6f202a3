"""Progress of commands that take longer than a moment: bars in a terminal, elsewhere occasional lines."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 10.0

Report = Callable[[str, int, int | None], None]
"""Called with the name of the task, the number of images or other items that are done, and their total (`None`: not known).

The part of the name after ": " may change from call to call; it is still the same task."""


@contextlib.contextmanager
def progress_of(console: Console) -> Iterator[Report]:
    """Show the progress of a command while the block runs.

    In a terminal, this shows bars, which are removed at the end. Elsewhere, it prints at most one line every ten seconds on
    standard error, so that a log shows that a long command is alive; a shorter command prints none.

    Args:
        console: of the command's output; decides whether there is a terminal.
    """
    if not console.is_terminal:
        yield _lines()
        return
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=40),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    tasks: dict[str, TaskID] = {}

    def draw(what: str, done: int, total: int | None) -> None:
        task = what.partition(": ")[0]
        if task not in tasks:
            tasks[task] = bars.add_task(what, total=total)
        bars.update(tasks[task], description=what, completed=done, total=total)

    with bars:
        yield draw


def counted(report: Report, what: str) -> Callable[[int], None]:
    """Return a function to call with the number of newly finished items, for work of unknown length."""
    num_done = 0

    def advance(num_more: int) -> None:
        nonlocal num_done
        num_done += num_more
        report(what, num_done, None)

    return advance


def _lines() -> Report:
    last = time.monotonic()

    def write(what: str, done: int, total: int | None) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            print(f"{what}: {done:,}{'' if total is None else f' of {total:,}'}", file=sys.stderr, flush=True)

    return write
