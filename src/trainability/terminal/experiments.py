"""Print experiments: each change beside the program as it is, with its curve."""

from __future__ import annotations

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from trainability.doctor.experiment_table import COLUMNS, experiment_table
from trainability.doctor.experimented import Experiments

_STYLES = {"as it is": "bold", "trains": "bold green", "also helps": "green", "faster": "yellow", "control": "cyan"}
_NUMBERS = ("loss before", "loss after", "steps")


def print_experiments(console: Console, experiments: Experiments) -> None:
    """Print the table, and below it what was not tried."""
    shown = experiment_table(experiments)
    grid = Table(title=Text(shown.title, style="bold"), title_justify="left", padding=(0, 2, 0, 0), pad_edge=False, box=None)
    for name in COLUMNS:
        grid.add_column(Text(name), justify="right" if name in _NUMBERS else "left", overflow="fold")
    for cells, outcome in shown.rows:
        grid.add_row(*(Text(cell, style=_STYLES.get(outcome, "")) for cell in cells))
    if shown.rows:
        console.print(grid)
    below = [*(f"not tried: {line}" for line in shown.left_out), *shown.notes]
    below += [shown.not_applied] if shown.not_applied else []
    for line in below:
        console.print(Padding(Text(f"· {line}", style="dim"), (0, 0, 0, 2)))
    console.print()
