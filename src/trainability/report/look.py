"""The one look of every figure: colours, fonts, frame.

A figure is plain plotly JSON in which a colour is written as its role, "@train": the page puts in the colour that the role has
in the reader's colour scheme, so that one figure serves light and dark. Annotations stand at data values; the page takes the
logarithm where it shows a logarithmic axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PALETTES: dict[str, dict[str, str]] = {
    "light": {
        "paper": "#ffffff",
        "panel": "#f6f7f8",
        "ink": "#16191d",
        "muted": "#59616b",
        "line": "#d9dde2",
        "grid": "#e8ebee",
        "train": "#1666b0",
        "train-step": "#8fbce4",
        "validation": "#cf5a00",
        "chance": "#6d7580",
        "good": "#1a7340",
        "bad": "#b3261e",
        "run-3": "#117a5b",
        "run-4": "#a8327d",
        "run-7": "#5b4bb5",
    },
    "dark": {
        "paper": "#14171b",
        "panel": "#1c2026",
        "ink": "#e9ecef",
        "muted": "#a3abb5",
        "line": "#353b44",
        "grid": "#272c33",
        "train": "#62b0f4",
        "train-step": "#3f74a5",
        "validation": "#ff9d52",
        "chance": "#98a1ac",
        "good": "#6fce95",
        "bad": "#ff8d85",
        "run-3": "#4fd1a5",
        "run-4": "#f29ad0",
        "run-7": "#b3a7ff",
    },
}
"""Role -> colour. Text and lines that carry meaning have a contrast of at least 4.5 with the paper; the per-step line, which
only backs the epoch means, has less."""

LEGEND = {
    "train-step": "Training, each step",
    "train": "Training, epoch mean",
    "validation": "Validation",
    "chance": "Chance level",
}
"""Role -> what the legend calls it. The names are traces' and shapes' own, too, by which the page shows and hides them."""

FONT = '-apple-system, BlinkMacSystemFont, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif'


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of the page, or why there is none.

    Attributes:
        name: identifier, unique on the page.
        title: heading.
        note: one line under the heading.
        description: what a screen reader says in place of the picture.
        plot: plotly's `data` and `layout`; `None` if there is nothing to draw.
        missing: why there is nothing to draw.
        has_scales: whether the reader can switch the y axis between linear and logarithmic.
        num_cells: rows, and columns, of a matrix, by which the page sizes it; 0 for other figures.
    """

    name: str
    title: str
    note: str = ""
    description: str = ""
    plot: dict[str, Any] | None = None
    missing: str | None = None
    has_scales: bool = False
    num_cells: int = 0


def axis(title: str) -> dict[str, Any]:
    """Make an axis with its name and unit."""
    return {
        "title": {"text": title, "standoff": 8, "font": {"size": 12, "color": "@muted"}},
        "gridcolor": "@grid",
        "zerolinecolor": "@line",
        "linecolor": "@line",
        "tickfont": {"size": 12, "color": "@muted"},
        "exponentformat": "power",
        "nticks": 6,
        "automargin": True,
    }


def blank_layout() -> dict[str, Any]:
    """Make the layout of a figure without its axes."""
    return {
        "autosize": True,
        "margin": {"l": 60, "r": 56, "t": 20, "b": 44},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 12, "color": "@ink"},
        "showlegend": False,
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": "@paper", "bordercolor": "@line", "font": {"family": FONT, "size": 12, "color": "@ink"}},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "@muted", "activecolor": "@ink"},
        "shapes": [],
        "annotations": [],
    }
