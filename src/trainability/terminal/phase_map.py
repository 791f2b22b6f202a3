"""How a phase diagram looks in a terminal."""

from __future__ import annotations

import math

from rich.console import Console
from rich.text import Text

from trainability.formats import number, signed
from trainability.prescribe.phase_map import OUTCOMES, Cell, Outcome, PhaseMap

MARKS: dict[Outcome, tuple[str, str]] = {
    "trained": ("●", "green"),
    "slow": ("◔", "yellow"),
    "dead": ("·", "blue"),
    "exploded": ("×", "red"),
}
_UNKNOWN = ("?", "dim")
_WIDTH, _LABELLED = 2, 3  # characters of a column; every third has its budget below it


def print_map(console: Console, phase_map: PhaseMap, ends: dict[Cell, Outcome]) -> None:
    """Print the plane, rates upwards, and where the program is; then what its marks mean.

    Args:
        console: of the output.
        phase_map: borders and grid.
        ends: outcomes of the runs that were made; where there is none, the mark is dim and what theory says.
    """
    console.print("learning rate, upwards, against gain budget (log10, with the input)", highlight=False, soft_wrap=True)
    for lr in reversed(phase_map.rates):
        line = Text(f"{number(lr, '.2g'):>8} ", style="dim")
        for budget in phase_map.budgets:
            cell = Cell(budget=budget, lr=lr)
            made = ends.get(cell)
            outcome = made if made is not None else phase_map.predicted(budget, lr)
            mark, colour = MARKS[outcome] if outcome is not None else _UNKNOWN
            style = f"bold {colour}" if made is not None else f"dim {colour}"
            line.append(">" if cell == phase_map.here else " ", style="bold")
            line.append(mark, style=style)
        console.print(line, no_wrap=True, overflow="crop", soft_wrap=True)
    labels = [f"{signed(b, '.0f'):>{_LABELLED * _WIDTH}}" for b in phase_map.budgets[::_LABELLED]]
    places = Text(" " * (9 - (_LABELLED - 1) * _WIDTH) + "".join(labels), style="dim")
    console.print(places, no_wrap=True, overflow="crop", soft_wrap=True)
    console.print()
    for line in words(phase_map, ends):
        console.print(line, highlight=False, soft_wrap=True)


def words(phase_map: PhaseMap, ends: dict[Cell, Outcome]) -> list[str]:
    """What a map says in words: where the program is, its borders, its marks, and what is missing."""
    said = phase_map.told(phase_map.budget, phase_map.lr)
    lines = [f" >  you are here: budget {signed(phase_map.budget)}, rate {phase_map.lr:g}: {said or 'theory cannot tell'}"]
    critical, slowest = phase_map.critical_lr(phase_map.budget), phase_map.slowest_lr(phase_map.budget)
    bounds = []
    if slowest is not None:
        rate = "no rate" if math.isinf(slowest) else f"{slowest:.2g}"
        bounds.append(f"leaves chance within {phase_map.steps:,} steps from rate {rate} on")
    noisy = phase_map.noise_lr(phase_map.budget)
    if noisy is not None and (critical is None or noisy < critical):
        bounds.append(f"is moved by the noise of its batches more than by its gradient above rate {noisy:.2g}")
    if critical is not None:
        bounds.append(f"overshoots above rate {critical:.2g}")
    if bounds:
        lines.append("    at this budget the net " + "; ".join(bounds))
    if phase_map.band is not None:
        lines.append(f"    trainable budgets: {signed(phase_map.band[0])} to {signed(phase_map.band[1])}")
    counts = {outcome: sum(end == outcome for end in ends.values()) for outcome in OUTCOMES}
    for outcome, meaning in OUTCOMES.items():
        count = f", {counts[outcome]} runs" if ends else ""
        lines.append(f" {MARKS[outcome][0]}  {outcome}{count}: {meaning}")
    if any(phase_map.predicted(b, lr) is None for b in phase_map.budgets for lr in phase_map.rates):
        lines.append(f" {_UNKNOWN[0]}  theory cannot tell: `check` rehearses at one of them, --runs 100 fills in the map")
    if ends:
        lines.append(f"    bold: {len(ends)} runs of {phase_map.steps:,} steps; dim: what closed form and critical step say")
    else:
        lines.append("    from closed form and critical step; --runs 100 fills it with real short runs")
    return [*lines, *(f"    {note}" for note in phase_map.notes)]
