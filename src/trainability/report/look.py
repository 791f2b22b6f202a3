"""The common look of all figures: colours, fonts, frame.

A figure is plain plotly JSON in which a colour is written as its role, "@train": the page replaces it by the role's colour in
the reader's colour scheme, light or dark. Annotations have data coordinates; the page takes the logarithm on a log axis. On a
time axis, x counts steps; if `layout.meta.per_epoch` gives the steps per epoch, the reader can choose between steps and epochs.
"{position}" in a hover text is replaced by the position on that axis.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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
        "heat-low": "#eef3f8",
        "heat-middle": "#4f8fc6",
        "heat-high": "#082c52",
        "run-1": "#1666b0",
        "run-2": "#c44e00",
        "run-3": "#117a5b",
        "run-4": "#a8327d",
        "run-5": "#7a6200",
        "run-6": "#0d7f92",
        "run-7": "#5b4bb5",
        "run-8": "#4a4f57",
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
        "heat-low": "#1b222b",
        "heat-middle": "#2f6ea8",
        "heat-high": "#d6ebff",
        "run-1": "#62b0f4",
        "run-2": "#ff9d52",
        "run-3": "#4fd1a5",
        "run-4": "#f29ad0",
        "run-5": "#e3cf57",
        "run-6": "#5fd3e6",
        "run-7": "#b3a7ff",
        "run-8": "#c3c9d1",
    },
}
"""Role -> colour. Text and lines that carry meaning have a contrast of at least 4.5 with the background; the per-step line,
which only supports the epoch means, has less."""

LEGEND = {
    "train-step": "Training, each step",
    "train": "Training, epoch mean",
    "validation": "Validation",
    "chance": "Chance level",
}
"""Role -> name in the legend. Traces and shapes have these names too, by which the page shows and hides them."""

MARKS = {"finding": "Findings, numbered", "plateau": "Predicted stay at chance", "reference": "Reference"}
"""The same for roles that only some runs have."""

NUM_RUN_COLOURS = 8
"""Colours of compared runs, distinguishable with the three common kinds of colour blindness."""

FONT = '-apple-system, BlinkMacSystemFont, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif'


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of the page, or the reason why there is none.

    Attributes:
        name: identifier, unique on the page.
        title: heading.
        note: one line under the heading.
        description: text for screen readers.
        plot: plotly's `data` and `layout`; `None` if there is nothing to draw.
        missing: why there is nothing to draw.
        has_scales: whether the reader can switch the y axis between linear and logarithmic.
        choices: for histograms, label by key in the plot's `meta.histograms`; empty for other figures.
        num_samples: for histograms, number of sampled steps.
        num_rows: number of layers with one row each, which determines the height; 0 for other figures.
        num_cells: rows (and columns) of a matrix, which determine its size; 0 for other figures.
    """

    name: str
    title: str
    note: str = ""
    description: str = ""
    plot: dict[str, Any] | None = None
    missing: str | None = None
    has_scales: bool = False
    choices: dict[str, str] = field(default_factory=dict)
    num_samples: int = 0
    num_rows: int = 0
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
        "margin": {"l": 60, "r": 16, "t": 20, "b": 44},
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
