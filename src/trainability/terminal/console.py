"""The console that everything is printed to."""

from __future__ import annotations

from rich.console import Console


def plain_console() -> Console:
    """Open the terminal for text that stands as it is: a class or a run called "[red]" is no markup, ":warning:" no picture."""
    return Console(markup=False, emoji=False)
