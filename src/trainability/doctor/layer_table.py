"""The table of layers as columns and cells, for plain text, terminal, `watch` and report.

This file decides the columns' names, order and number formats; each display chooses colours, line breaks and how much fits.
Layers may be objects or rows of a run directory. Data only; no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainability.doctor import markup
from trainability.doctor.layer_stats import LayerStats

BAR_WIDTH = 13
"""Characters of a bar: one for each power of ten from 1e-6 to 1e+6."""
BAR_HEADING = "1e-6  1  1e+6"


def number(value: float) -> str:
    """Write a number in four significant figures or fewer: 0.00023 as 2.3e-04."""
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    if math.isnan(value):
        return "NaN"
    if value == 0 or 1e-2 <= abs(value) < 1e5:
        return f"{value:,.0f}" if value == int(value) else f"{value:,.3g}" if abs(value) < 999.5 else f"{value:,.0f}"
    return f"{value:.1e}"


def power(exponent: float) -> str:
    """Write a power of ten, such as a gain budget, with its sign: "-4.0", "+2.7"."""
    return f"{exponent:+z.1f}"


def number_of(value: Any) -> float | None:
    """Read a number from its plain form, in which NaN and infinity are strings (`doctor.serial`)."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def field_of(item: Any, name: str) -> Any:
    """Read a field of an object, or of its plain form; `None` if it is missing."""
    return item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the table of layers.

    Attributes:
        name: its heading; a narrow display may break it at spaces.
        key: field of `LayerStats`.
        powers: range of the bar in powers of ten; `None` for no bar.
        is_fraction: written in percent.
        nonfinite: the field that says whether the tensor holds NaN or infinity.
    """

    name: str
    key: str
    powers: tuple[int, int] | None = None
    is_fraction: bool = False
    nonfinite: str = ""

    @property
    def is_text(self) -> bool:
        """Whether the column holds words."""
        return self.key in ("name", "kind")


COLUMNS = (
    Column(name="layer", key="name"),
    Column(name="kind", key="kind"),
    Column(name="gain", key="gain"),
    Column(name="output", key="activation_rms", powers=(-6, 6), nonfinite="activation_nonfinite"),
    Column(name="predicted output", key="predicted_activation_rms"),
    Column(name="output gradient", key="output_gradient_rms"),
    Column(name="predicted gradient", key="predicted_output_gradient_rms"),
    Column(name="weight gradient", key="gradient_rms", powers=(-12, 0), nonfinite="gradient_nonfinite"),
    Column(name="update ratio", key="update_ratio", powers=(-9, 0)),
    Column(name="zeros", key="zero_fraction", is_fraction=True),
)
"""Columns, in order. Sizes are root mean squares; the update ratio is the rms of one optimizer step over that of the weight."""

# Columns that a narrow display leaves out, in this order.
_DISPENSABLE = ("kind", "zeros", "weight gradient", "predicted gradient", "gain", "predicted output")


def column(key: str) -> Column:
    """Find the column of a field of `LayerStats`."""
    return next(found for found in COLUMNS if found.key == key)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell: its text ("" if the layer has no such value), and the value, if it is a finite number."""

    text: str
    value: float | None = None
    is_nonfinite: bool = False


@dataclass(frozen=True, kw_only=True)
class LayerTable:
    """Layers in forward order.

    Attributes:
        title: heading.
        columns: those of `COLUMNS` for which at least one layer has a value.
        rows: a cell per column, for every layer.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def html(self) -> str:
        """Write the table as HTML, without its title."""
        names = [found.name for found in self.columns]
        rows = [[cell.text for cell in row] for row in self.rows]
        return markup.table(names, rows, texts=[found.is_text for found in self.columns])

    def _repr_html_(self) -> str:
        return markup.block(markup.heading(self.title), self.html())

    def cells(self, key: str) -> list[Cell]:
        """Cells of the column of a field of `LayerStats`; empty cells if the table does not have the column."""
        places = [place for place, found in enumerate(self.columns) if found.key == key]
        return [row[places[0]] if places else Cell(text="") for row in self.rows]

    def within(self, width: int, *, gap: int, extra: int = 0) -> LayerTable:
        """Leave columns out until the table fits.

        Args:
            width: available characters.
            gap: characters between two columns.
            extra: characters that the display needs for additions.
        """
        kept = list(range(len(self.columns)))
        for name in _DISPENSABLE:
            if sum(self._width(place) + gap for place in kept) - gap + extra <= width:
                break
            kept = [place for place in kept if self.columns[place].name != name]
        return LayerTable(
            title=self.title,
            columns=tuple(self.columns[place] for place in kept),
            rows=tuple(tuple(row[place] for place in kept) for row in self.rows),
        )

    def _width(self, place: int) -> int:
        """Characters of a column whose heading is broken at its spaces."""
        return max(map(len, (*self.columns[place].name.split(), *(row[place].text for row in self.rows))), default=0)


def layer_cell(layer: LayerStats | Mapping[str, Any], found: Column) -> Cell:
    """Write one value of a layer."""
    value = field_of(layer, found.key)
    if found.is_text:
        return Cell(text=str(value or ""))
    if found.nonfinite and field_of(layer, found.nonfinite):
        return Cell(text="NaN/Inf", is_nonfinite=True)
    size = number_of(value)
    if size is None:
        return Cell(text="")
    present = size if math.isfinite(size) else None
    text = f"{100 * size:.1f} %" if found.is_fraction and present is not None else number(size)
    return Cell(text=text, value=present, is_nonfinite=present is None)


def layer_table(layers: Sequence[LayerStats | Mapping[str, Any]], title: str = "") -> LayerTable:
    """Lay layers out, a row each.

    Args:
        layers: objects, or rows of `layers.jsonl`.
        title: heading.
    """
    rows = [[layer_cell(layer, found) for found in COLUMNS] for layer in layers]
    kept = [place for place, _ in enumerate(COLUMNS) if any(row[place].text for row in rows)]
    return LayerTable(
        title=title, columns=tuple(COLUMNS[place] for place in kept), rows=tuple(tuple(row[i] for i in kept) for row in rows)
    )


def bar(value: float | None) -> str:
    """Draw the distance of a size from 1, one character per power of ten, to the left if smaller and to the right if larger."""
    if value is None or not math.isfinite(value) or value <= 0:
        return ""
    middle, place = BAR_WIDTH // 2, decade(value) + BAR_WIDTH // 2
    first, last = min(place, middle), max(place, middle)
    return "".join("█" if first <= i <= last else "·" for i in range(BAR_WIDTH))


def decade(value: float) -> int:
    """Round a size to a power of ten, at most as far from 1 as a bar goes."""
    return min(max(round(math.log10(value)), -(BAR_WIDTH // 2)), BAR_WIDTH // 2)


INIT_COLUMNS = ("#", "layer", "shape", "scheme", "std", "gain", "log10 gain")
"""Columns of the initialisation table."""


def init_cells(row: Any) -> tuple[str, ...]:
    """Write a row of the initialisation table, a cell for each of `INIT_COLUMNS`.

    Args:
        row: `initialization.LayerInit`, or its plain form in `init.json`.
    """
    std, gain, exponent = number_of(field_of(row, "std")), number_of(field_of(row, "gain")), log10_gain(row)
    return (
        str(field_of(row, "index")),
        str(field_of(row, "name")),
        " × ".join(map(str, field_of(row, "shape"))),
        str(field_of(row, "scheme")),
        "" if std is None else number(std),
        "" if gain is None else number(gain),
        "" if exponent is None else f"{exponent:+z.2f}",
    )


def log10_gain(row: Any) -> float | None:
    """Return the logarithm of a layer's gain; `None` if it has none."""
    gain = number_of(field_of(row, "gain"))
    return math.log10(gain) if gain is not None and math.isfinite(gain) and gain > 0 else None


def init_budget(rows: Sequence[Any]) -> float | None:
    """Sum the logarithms of all layers' gains; `None` if a layer has none."""
    exponents = [exponent for row in rows if (exponent := log10_gain(row)) is not None]
    return sum(exponents) if len(exponents) == len(rows) else None
