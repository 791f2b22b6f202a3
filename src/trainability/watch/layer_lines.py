"""The layers of the newest sampled step, one line each: sizes of output, gradient and update with small bars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from trainability.doctor.layer_table import Cell, Column, column, layer_cell

_COLUMNS = tuple(map(column, ("activation_rms", "gradient_rms", "update_ratio", "zero_fraction")))
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_VALUE_WIDTH = 8


def layer_lines(rows: Sequence[dict[str, Any]], styles: Mapping[str, str], *, width: int, height: int) -> list[Text]:
    """Draw a heading and the layers.

    Args:
        rows: of `layers.jsonl`, of one step, in forward order.
        styles: colours of layers that have findings.
        width: in characters.
        height: most lines. If the layers do not fit, those with a style come first, then the first and last layers, then as
            many of the others as fit.

    Returns:
        The lines; none if there are no rows, or room only for the heading.
    """
    if not rows or height < 2:
        return []
    shown = _choose(rows, styles, height - 1)
    name_width = min(max(len(row["name"]) for row in rows), 24, max(width // 4, 6))
    # Name, then for every column a gap of two, the value, a gap of one, and the bar.
    bar_width = min(max((width - name_width) // len(_COLUMNS) - _VALUE_WIDTH - 3, 0), 12)
    column_width = _VALUE_WIDTH + 1 + bar_width
    count = "" if len(shown) == len(rows) else f" ({len(shown)} of {len(rows)})"
    heading = Text(f"{'layer' + count:<{name_width}}", style="dim", no_wrap=True)
    if len(heading) > name_width:
        heading = Text(f"{f'{len(shown)} of {len(rows)}':<{name_width}}", style="dim", no_wrap=True)
    for found in _COLUMNS[:-1]:
        heading.append("  " + f"{found.name:<{column_width}}"[:column_width])
    heading.append(f"  {_COLUMNS[-1].name}  step {rows[-1]['step']:,}")
    lines = [heading]
    for row in shown:
        style = styles.get(row["name"], "")
        line = Text(f"{_shortened(row['name'], name_width):<{name_width}}", style=style, no_wrap=True)
        for found in _COLUMNS:
            line.append("  ").append_text(_cell(layer_cell(row, found), found, bar_width))
        lines.append(line)
    return lines


def _choose(rows: Sequence[dict[str, Any]], styles: Mapping[str, str], num: int) -> list[dict[str, Any]]:
    if len(rows) <= num:
        return list(rows)
    evenly = [round(i * (len(rows) - 1) / max(num - 1, 1)) for i in range(num)]
    named = [i for i, row in enumerate(rows) if row["name"] in styles]
    order = dict.fromkeys((*named, 0, len(rows) - 1, *evenly, *range(len(rows))))
    return [rows[i] for i in sorted(list(order)[:num])]


def _shortened(name: str, width: int) -> str:
    return name if len(name) <= width else "…" + name[1 - width :]


def _cell(cell: Cell, found: Column, width: int) -> Text:
    """Write a value with a bar for its position between two powers of ten, or for a fraction; a dash if there is none."""
    if cell.is_nonfinite:
        return Text(f"{cell.text:>{_VALUE_WIDTH}} {'':<{width}}", style="bold red")
    if cell.value is None:
        return Text(f"{'–':>{_VALUE_WIDTH}} {'':<{width}}", style="dim")
    fraction = cell.value
    if found.powers is not None:
        low, high = found.powers
        fraction = (math.log10(cell.value) - low) / (high - low) if cell.value > 0 else 0
    return Text(f"{cell.text:>{_VALUE_WIDTH}} ").append_text(_bar(fraction, width))


def _bar(fraction: float, width: int) -> Text:
    """Draw a bar with a resolution of an eighth of a character."""
    eighths = round(min(max(fraction, 0), 1) * 8 * width)
    full = _EIGHTHS[8] * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")
    return Text(full[:width], style="bright_black").append("·" * (width - len(full)), "bright_black dim")
