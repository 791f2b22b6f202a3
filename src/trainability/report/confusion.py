"""Draw the confusion matrix: how often each class is predicted for each true class."""

from __future__ import annotations

import html
from typing import Any

import numpy as np

from trainability.report.look import Figure, axis, blank_layout

MOST_CLASSES = 50
"""Most classes drawn in full; with more, the cells are too small to see."""
NUM_SHOWN = 30
"""Number of classes drawn of a larger set."""
MOST_NUMBERED = 12
"""Most classes for which the cells have room for numbers."""
MOST_BESIDE = 20
"""Most classes for which the figure fits into half the width of the page."""


def confusion_figure(confusion: np.ndarray, class_names: tuple[str, ...]) -> Figure:
    """Draw the confusion matrix; with many classes, only that of the most confused ones.

    Correct predictions are grey and wrong ones have their own colour scale: on a common scale, the diagonal of a net that has
    learned would make the errors invisible.

    Args:
        confusion: (classes, classes) int64, images by true class (row) and predicted class (column).
        class_names: one per class.
    """
    shown = shown_classes(confusion)
    title = "Confusion matrix"
    if not len(shown):
        return Figure(name="confusion", title=title, missing="No prediction is wrong.")
    totals = confusion.sum(1)
    counts = confusion[np.ix_(shown, shown)]
    shares = 100 * counts / np.maximum(1, totals[shown, None])
    is_own = np.eye(len(shown), dtype=bool)
    highest = float(shares[~is_own].max(initial=0))
    names = [plain(class_names[number]) for number in shown]
    traces = [
        _cells("right", is_own & (counts > 0), shares, counts, names)
        | {"colorscale": [[0, "@grid"], [1, "@line"]], "zmax": 100},
        _cells("wrong", ~is_own & (counts > 0), shares, counts, names) | _scale(highest),
    ]
    return Figure(
        name="confusion",
        title=title,
        note=_note(len(shown), len(class_names)),
        description=_describe(confusion, shown, class_names),
        plot={"data": traces, "layout": _layout([_short(class_names[number]) for number in shown])},
        num_cells=len(shown),
    )


def shown_classes(confusion: np.ndarray) -> np.ndarray:
    """Choose the classes to draw, ascending: all, or those of the most confused pairs."""
    if len(confusion) <= MOST_CLASSES:
        return np.arange(len(confusion))
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    labels, answers = np.nonzero(wrong)
    chosen: set[int] = set()
    for place in np.argsort(-wrong[labels, answers], kind="stable"):
        pair = {int(labels[place]), int(answers[place])}
        if len(chosen | pair) > NUM_SHOWN:
            break
        chosen |= pair
    return np.array(sorted(chosen), dtype=np.int64)


def plain(name: str) -> str:
    """Escape a name for plotly, which interprets markup and TeX, and for the page, for which a leading "@" is a colour."""
    return html.escape(" ".join(name.split()), quote=False).replace("@", "&#64;").replace("$", "&#36;")


def _short(name: str, length: int = 14) -> str:
    words = " ".join(name.split())
    return plain(words if len(words) <= length else words[: length - 1].rstrip() + "…")


def _cells(kind: str, drawn: np.ndarray, shares: np.ndarray, counts: np.ndarray, names: list[str]) -> dict[str, Any]:
    """Make the cells of one kind (right or wrong); the others stay empty."""
    places = list(range(len(names)))
    trace = {
        "type": "heatmap",
        "name": kind,
        "x": places,
        "y": places,
        "z": [[round(float(shares[i, j]), 3) if drawn[i, j] else None for j in places] for i in places],
        "customdata": [[[names[i], names[j], int(counts[i, j])] if drawn[i, j] else None for j in places] for i in places],
        "hovertemplate": f"%{{customdata[0]}}, {'rightly ' if kind == 'right' else ''}taken for %{{customdata[1]}}<br>"
        "%{customdata[2]:,} images, %{z:.1f}\u00a0% of the class<extra></extra>",
        "zmin": 0,
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
        "hoverongaps": False,
    }
    if len(names) <= MOST_NUMBERED:
        trace["text"] = [[str(counts[i, j]) if drawn[i, j] else "" for j in places] for i in places]
        trace |= {"texttemplate": "%{text}", "textfont": {"size": 12} | ({"color": "@ink"} if kind == "right" else {})}
    return trace


def _scale(highest: float) -> dict[str, Any]:
    """Make the colour scale of wrong predictions; its lower end is below 0, so that a single error is visible."""
    bar = {
        "orientation": "h",
        "x": 1,
        "xanchor": "right",
        "y": 1,
        "yanchor": "bottom",
        "ypad": 4,
        "len": 0.5,
        "thickness": 8,
        "outlinewidth": 0,
        "tickvals": [0, highest],
        "ticktext": ["0", f"{highest:.3g}\u00a0%"],
        "tickfont": {"size": 11, "color": "@muted"},
        "title": {"text": "wrong, fraction of the class", "side": "top", "font": {"size": 11, "color": "@muted"}},
    }
    colours = [[0, "@paper"], [1, "@validation"]]
    return {"colorscale": colours, "zmin": -0.15 * highest, "zmax": highest or 1, "showscale": highest > 0, "colorbar": bar}


def _layout(labels: list[str]) -> dict[str, Any]:
    size = 12 if len(labels) <= MOST_BESIDE else 10
    ticks = {
        "tickvals": list(range(len(labels))),
        "ticktext": labels,
        "tickfont": {"size": size, "color": "@muted"},
        "showgrid": False,
        "zeroline": False,
        "type": "linear",
    }
    end = len(labels) - 0.5
    frame = {"showline": True, "mirror": True, **ticks}
    layout = blank_layout() | {"margin": {"l": 44, "r": 8, "t": 8, "b": 44}}
    across = axis("Predicted class")
    # plotly may place the title before it knows the height of the labels.
    across["title"]["standoff"] = 26
    layout["xaxis"] = across | frame | {"range": [-0.5, end]}
    layout["yaxis"] = axis("True class") | frame | {"range": [end, -0.5]}
    if len(labels) > MOST_BESIDE:
        layout["xaxis"]["tickangle"] = -90
    return layout


def _note(num_shown: int, num_classes: int) -> str:
    note = "Row: true class; column: predicted class. Correct predictions are grey, wrong ones orange."
    if num_shown < num_classes:
        note += f" Only {num_shown} of {num_classes:,} classes are drawn, those of the most confused pairs."
    return note


def _describe(confusion: np.ndarray, shown: np.ndarray, class_names: tuple[str, ...]) -> str:
    """Describe the figure in words."""
    wrong = confusion[np.ix_(shown, shown)].copy()
    right = int(wrong.trace())
    np.fill_diagonal(wrong, 0)
    parts = [f"Confusion matrix of {len(shown)} classes. {right:,} images correct, {int(wrong.sum()):,} wrong."]
    if wrong.any():
        row, column = np.unravel_index(wrong.argmax(), wrong.shape)
        own, other = class_names[shown[row]], class_names[shown[column]]
        parts.append(f"Most confused: {own} taken for {other}, {int(wrong[row, column]):,} images.")
    return " ".join(parts)
