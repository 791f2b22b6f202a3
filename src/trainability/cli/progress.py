"""Progress bars of commands that do not train."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def progress_bars(console: Console) -> Progress:
    """Make progress bars that are drawn only in a terminal and removed at the end."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=40),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def counter(bars: Progress, what: str) -> Callable[[int], None]:
    """Start a bar of unknown length; return the function that advances it."""
    task = bars.add_task(what, total=None)
    return lambda num_images: bars.advance(task, num_images)
