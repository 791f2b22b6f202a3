"""Draw curves with braille characters: eight dots per character, one colour per character."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text

# The bit of each dot of a character, by row and column. Unicode numbers the upper six by column, then the lowest two.
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_BLANK = 0x2800
# A canvas of this height has some 30 dots: on a linear axis, a thirtieth of the largest value looks like 0.
_LOG_RATIO = 30


class Canvas:
    """A grid of dots, two columns and four rows per character."""

    def __init__(self, columns: int, rows: int) -> None:
        """Make an empty canvas, sized in characters."""
        self.columns, self.rows = columns, rows
        self.cells = [[0] * columns for _ in range(rows)]
        self.styles = [[""] * columns for _ in range(rows)]

    def dot(self, x: int, y: int, style: str = "") -> None:
        """Set a dot, counted from the upper left; its character takes this style. Dots outside are ignored."""
        if 0 <= x < 2 * self.columns and 0 <= y < 4 * self.rows:
            self.cells[y // 4][x // 2] |= _BITS[y % 4][x % 2]
            self.styles[y // 4][x // 2] = style

    def line(self, start: tuple[int, int], end: tuple[int, int], style: str = "") -> None:
        """Draw a line between two dots."""
        length = max(abs(end[0] - start[0]), abs(end[1] - start[1]))
        for i in range(length + 1):
            share = i / length if length else 0
            self.dot(round(start[0] + share * (end[0] - start[0])), round(start[1] + share * (end[1] - start[1])), style)

    def text(self) -> list[Text]:
        """Return the rows from the top."""
        rows = []
        for cells, styles in zip(self.cells, self.styles, strict=True):
            row = Text(no_wrap=True)
            for cell, style in zip(cells, styles, strict=True):
                row.append(chr(_BLANK + cell) if cell else " ", style if cell else "")
            rows.append(row)
        return rows


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Points joined by lines, except at gaps.

    Attributes:
        points: x ascending; y is `None` at a gap.
        style: colour.
    """

    points: Sequence[tuple[float, float | None]]
    style: str


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Mapping from values to dots.

    Attributes:
        low: value at the lower end.
        high: value at the upper end.
        is_log: whether the axis is logarithmic.
    """

    low: float
    high: float
    is_log: bool = False

    def place(self, value: float, num_dots: int) -> int:
        """Return the dot of a value, counted from the lower end; values beyond an end are clipped to it."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        share = (self._scaled(value) - low) / (high - low)
        return round(min(max(share, 0), 1) * (num_dots - 1))

    def value(self, share: float) -> float:
        """Return the value at a fraction of the height."""
        if self.is_log:
            return self.low * (self.high / self.low) ** share
        return self.low + share * (self.high - self.low)

    def _scaled(self, value: float) -> float:
        return math.log(max(value, self.low)) if self.is_log else value


def value_axis(values: Sequence[float]) -> Axis:
    """Choose the axis of non-negative values: from 0, or logarithmic if that shows more.

    A linear axis always starts at 0, because another start would exaggerate small changes. On a logarithmic one, 0 is at the
    lower end.
    """
    positive = [value for value in values if value > 0]
    if not positive:
        return Axis(low=0, high=1)
    if max(positive) >= _LOG_RATIO * min(positive):
        return Axis(low=min(positive), high=max(positive), is_log=True)
    return Axis(low=0, high=max(positive))


def plot(
    curves: Sequence[Curve],
    *,
    width: int,
    height: int,
    last_x: float,
    level: float | None,
    level_style: str,
    label: Callable[[float], str],
) -> list[Text]:
    """Draw curves with axis labels on the left.

    Args:
        curves: later ones are drawn over earlier ones.
        width: in characters, including labels.
        height: in characters.
        last_x: value at the right end; the left end is 0.
        level: value of a dashed line; `None` for none.
        level_style: its colour.
        label: formats a value with at most 7 characters.

    Returns:
        `height` rows of `width` characters.
    """
    values = [y for curve in curves for _, y in curve.points if y is not None] + ([] if level is None else [level])
    axis, label_width = value_axis(values), 7
    canvas = Canvas(max(width - label_width - 1, 1), max(height, 1))
    num_columns, num_rows = 2 * canvas.columns, 4 * canvas.rows
    x_axis = Axis(low=0, high=last_x if last_x > 0 else 1)

    def spot(x: float, y: float) -> tuple[int, int]:
        return x_axis.place(x, num_columns), num_rows - 1 - axis.place(y, num_rows)

    if level is not None:
        for column in range(num_columns):
            if column % 6 < 4:
                canvas.dot(column, spot(0, level)[1], level_style)
    for curve in curves:
        before: tuple[int, int] | None = None
        for x, y in curve.points:
            here = None if y is None else spot(x, y)
            if here is not None:
                canvas.line(before or here, here, curve.style)
            before = here
    rows = canvas.text()
    middle = (len(rows) - 1) // 2
    # The labels at the ends are for the outermost dots, that in the middle for the centre of its character.
    shares = {middle: 1 - (4 * middle + 1.5) / (num_rows - 1), len(rows) - 1: 0.0, 0: 1.0} if values else {}
    marks = {row: label(axis.value(share)) for row, share in shares.items()}
    return [
        Text(no_wrap=True).append(f"{marks.get(i, ''):>{label_width}} ", "dim").append_text(row) for i, row in enumerate(rows)
    ]
