"""The console for all output."""

from __future__ import annotations

from rich.console import Console


def plain_console() -> Console:
    """Open a console that prints text literally: "[red]" in a name is not markup, and ":warning:" is not an emoji."""
    return Console(markup=False, emoji=False)
