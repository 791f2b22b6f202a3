"""Progress bars of commands that do not train."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def progress_bars(console: Console) -> Progress:
    """Make bars that are drawn in a terminal only, and leave nothing behind."""
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
    """Begin a bar without an end; return what counts it on."""
    task = bars.add_task(what, total=None)
    return lambda num_images: bars.advance(task, num_images)
