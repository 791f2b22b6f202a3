"""Draw the probe of a run: predicted against measured, before the first step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainability import formats
from trainability.doctor import reading
from trainability.doctor.layer_table import column as layer_column
from trainability.doctor.layer_table import power
from trainability.doctor.theory.band import BUDGET_HIGH, BUDGET_LOW
from trainability.formats import finite
from trainability.report.confusion import plain
from trainability.report.look import Figure, axis, blank_layout
from trainability.report.series import rounded
from trainability.training.record import Run

GAIN_NOTE = (
    "From layer to layer, including pooling and padding; for the first layer, from the input. Above 1 the signal grows, below 1"
    " it fades."
)


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A gain budget on the scale; `place` is in percent of the scale's width."""

    text: str
    place: float
    role: str = "ink"


@dataclass(frozen=True, kw_only=True)
class BudgetScale:
    """Gain budgets on a scale: dead, trainable, exploding.

    Attributes:
        marks: the budgets.
        low: lower end of the trainable band, in percent of the width.
        high: upper end, in percent of the width.
        limits: both ends of the band, in words.
        description: text for screen readers.
    """

    marks: tuple[Mark, ...]
    low: float
    high: float
    limits: tuple[str, str]
    description: str


def total_budget(run: Run) -> float | None:
    """Gain budget including the input's scale, as the doctor computes it; `None` if there was no probe."""
    probe = (run.evidence or {}).get("probe")
    return None if probe is None else reading.total_budget(probe)


def budget_scale(budgets: Sequence[tuple[str, str, float]]) -> BudgetScale | None:
    """Place gain budgets, which include the input's scale, on the scale.

    Args:
        budgets: label ("" for none), role of its colour, and budget, each.
    """
    if not budgets:
        return None
    totals = [total for _, _, total in budgets]
    start, end = min(BUDGET_LOW - 4, *totals) - 1, max(BUDGET_HIGH + 4, *totals) + 1

    def place(value: float) -> float:
        return 100 * (value - start) / (end - start)

    words = [f"{label or 'gain budget with the input'} {power(total)}, {zone(total)}" for label, _, total in budgets]
    return BudgetScale(
        marks=tuple(
            Mark(text=f"{label} {formats.signed(total)}".strip(), place=place(total), role=role)
            for label, role, total in budgets
        ),
        low=place(BUDGET_LOW),
        high=place(BUDGET_HIGH),
        limits=(formats.signed(BUDGET_LOW), formats.signed(BUDGET_HIGH)),
        description=f"Trainable from {BUDGET_LOW:g} to {BUDGET_HIGH:g}: {'; '.join(words)}.",
    )


def zone(total: float) -> str:
    """Return the part of the scale that a budget is in: dead, trainable or exploding."""
    return "dead" if total < BUDGET_LOW else "exploding" if total > BUDGET_HIGH else "trainable"


def signal_figures(run: Run) -> list[Figure]:
    """Draw gains, signal and gradient, predicted against measured; an empty list if there was no probe."""
    probe = (run.evidence or {}).get("probe") or {}
    layers = probe.get("layers") or []
    if not layers:
        return []
    names = [str(layer.get("name")) for layer in layers]

    def values(key: str) -> list[float | None]:
        return [finite(layer.get(key)) for layer in layers]

    forwards = [values(f"{kind}activation_rms") for kind in ("predicted_", "")]
    backwards = [values(f"{kind}output_gradient_rms") for kind in ("predicted_", "")]
    square = finite(probe.get("input_mean_square"))
    gains = [_gains(sizes, square) for sizes in forwards]
    output, gradient = (layer_column(key).name.capitalize() for key in ("activation_rms", "output_gradient_rms"))
    note = "Solid: measured on one batch before the first step. Dashed: predicted from the standard deviations of the weights."
    return [
        _pair("gain", "Gain of each layer", "Mean square, output over input", names, *gains, note=GAIN_NOTE),
        _pair("forwards", f"{output} of each layer", "Rms of the output", names, *forwards, note=note),
        _pair("backwards", f"{gradient} of each layer", "Rms of d loss / d output", names, *backwards, note=note),
    ]


def _gains(sizes: Sequence[float | None], input_square: float | None) -> list[float | None]:
    """Divide the mean square of each layer's output by that of the layer before, or, for the first, of the input."""
    before = [None if input_square is None else math.sqrt(input_square), *sizes[:-1]]
    return [_ratio(size, earlier) for size, earlier in zip(sizes, before, strict=True)]


def _ratio(size: float | None, earlier: float | None) -> float | None:
    if size is None or not earlier:
        return None
    ratio = size / earlier
    return ratio * ratio if ratio < 1e150 else None


def _pair(
    name: str,
    title: str,
    unit: str,
    names: list[str],
    predicted: list[float | None],
    measured: list[float | None],
    *,
    note: str,
) -> Figure:
    if not any(value is not None and value > 0 for value in (*predicted, *measured)):
        return Figure(name=name, title=title, missing="Neither predicted nor measured: no finite value above zero.")
    layout = blank_layout()
    places = list(range(len(names)))
    layout["xaxis"] = axis("") | {"tickvals": places, "ticktext": [_label(text) for text in names], "tickangle": -45}
    layout["xaxis"] |= {"showgrid": False, "showline": True, "zeroline": False, "range": [-0.5, len(names) - 0.5]}
    del layout["xaxis"]["title"], layout["xaxis"]["nticks"]
    layout["xaxis"]["tickfont"] = {"size": 11, "color": "@muted"}
    layout["yaxis"] = axis(unit) | {"type": "log", "rangemode": "tozero"}
    words = [plain(text) for text in names]
    traces = [
        _line("predicted", places, predicted, words, "@chance", {"width": 1.5, "dash": "dash"}, "circle-open"),
        _line("measured", places, measured, words, "@train", {"width": 2}, "circle"),
    ]
    return Figure(
        name=name,
        title=title,
        note=note,
        description=_describe(title, names, predicted, measured),
        plot={"data": traces, "layout": layout},
        has_scales=True,
    )


def _label(name: str) -> str:
    return plain(name if len(name) <= 14 else f"…{name[-13:]}")


def _line(
    name: str, places: list[int], values: list[float | None], words: list[str], colour: str, line: dict[str, Any], symbol: str
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": places,
        "y": rounded(values),
        "text": words,
        "line": line | {"color": colour},
        "marker": {"size": 7, "symbol": symbol, "color": colour},
        "hovertemplate": f"%{{text}}<br>{name} %{{y:.3g}}<extra></extra>",
    }


def _describe(title: str, names: list[str], predicted: list[float | None], measured: list[float | None]) -> str:
    """Describe the figure in words: both ends, and the largest difference between prediction and measurement."""
    parts = [f"{title}, {len(names)} layers."]
    both = [(name, p, m) for name, p, m in zip(names, predicted, measured, strict=True) if p and m and p > 0 and m > 0]
    for name, p, m in both[:1] + both[1:][-1:]:
        parts.append(f"{name}: predicted {p:.3g}, measured {m:.3g}.")
    if both:
        name, p, m = max(both, key=lambda row: abs(math.log(row[2] / row[1])))
        parts.append(f"Largest difference at {name}: a factor of {max(m / p, p / m):.2g}.")
    return " ".join(parts)
