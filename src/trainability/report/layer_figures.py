"""Draw the sampled steps of the layers: heat maps over time, and histograms step by step."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from trainability.doctor.layer_table import Column, column
from trainability.formats import finite
from trainability.report import marks
from trainability.report.confusion import plain
from trainability.report.look import Figure, axis, blank_layout
from trainability.report.series import evenly, steps_per_epoch
from trainability.training.record import Run

MOST_COLUMNS = 200
"""Most sampled steps in a heat map: with more, a column is narrower than three pixels."""
MOST_HISTOGRAMS = 60
"""Most sampled steps whose histograms are on the page."""
PER_MILLE = 1000
_STANDOFF = 22  # of the title below a heat map, which plotly measures from the axis there: below its numbers


NOTES = {
    "activation_rms": "Root mean square of each layer's output, before its ReLU.",
    "gradient_rms": "Root mean square of the gradient of each layer's weights, before clipping.",
    "update_ratio": "Change of the weights in one step over the weights; about 10⁻³ is usual.",
    "zero_fraction": "Fraction of a layer's outputs that its ReLU sets to zero.",
}
"""Fields of `layers.jsonl` that are drawn over time, with their descriptions."""

KINDS = {"weight": "weights", "gradient": "gradients of the weights", "activation": "outputs before the ReLU"}


@dataclass(frozen=True, kw_only=True)
class Samples:
    """The sampled steps of a run.

    Attributes:
        steps: ascending.
        names: of the layers, in forward order.
        rows: by (step, name).
    """

    steps: list[int]
    names: list[str]
    rows: dict[tuple[int, str], dict[str, Any]]

    def column(self, step: int, read: Callable[[dict[str, Any]], Any]) -> list[Any]:
        """Read a value of every layer at a step; `None` if a layer has no row."""
        return [read(self.rows[step, name]) if (step, name) in self.rows else None for name in self.names]


def samples_of(run: Run) -> Samples:
    """Index the rows of `layers.jsonl`."""
    rows = {(row["step"], row["name"]): row for row in run.layers}
    return Samples(steps=sorted({step for step, _ in rows}), names=list(dict.fromkeys(name for _, name in rows)), rows=rows)


def layer_figures(run: Run) -> list[Figure]:
    """Draw the layers over time; an empty list if no step was sampled."""
    samples = samples_of(run)
    if not samples.steps:
        return []
    return [*(_heat_map(run, samples, column(key)) for key in NOTES), _histograms(run, samples)]


def _heat_map(run: Run, samples: Samples, field: Column) -> Figure:
    title = field.name.capitalize()
    name = f"layers-{field.key.replace('_', '-')}"
    every = [samples.column(step, lambda row: finite(row.get(field.key))) for step in samples.steps]
    if not any(value is not None and (field.is_fraction or value > 0) for column in every for value in column):
        no_relu = field.is_fraction and not any(field.key in row for row in run.layers)
        why = "No layer is followed by a ReLU." if no_relu else "No sampled step has a finite value above zero."
        return Figure(name=name, title=title, missing=why)
    steps, columns = _extremes(samples.steps, every, field)
    values = [value for column in columns for value in column if value is not None and (field.is_fraction or value > 0)]
    low, high = (0.0, 1.0) if field.is_fraction else (min(values), max(values))
    shown = [[_height(value, field) for value in layer] for layer in zip(*columns, strict=True)]
    numbers = [[None if value is None else float(f"{value:.3g}") for value in layer] for layer in zip(*columns, strict=True)]
    trace = {
        "type": "heatmap",
        "name": field.key,
        "x": steps,
        "y": list(range(len(samples.names))),
        "z": shown,
        "customdata": numbers,
        "hovertemplate": "%{customdata:.3~g}<br>%{text}, {position}<extra></extra>",
        "text": [[plain(layer)] * len(steps) for layer in samples.names],
        "hoverongaps": False,
        **_colours(field, low, high),
    }
    if field.is_fraction:
        del trace["customdata"]
        trace["hovertemplate"] = trace["hovertemplate"].replace("customdata:.3~g", "z:.1%")
    layout = marks.time_layout(run)
    layout["margin"] |= {"t": 50, "r": 16}  # of the colour scale, whose last number is as wide
    layout["xaxis"] |= {"range": _span(steps), "zeroline": False}
    layout["xaxis"]["title"]["standoff"] = _STANDOFF
    layout["yaxis"] = _layer_axis(samples.names) | {"autorange": "reversed"}
    layout["annotations"], layout["shapes"] = [], []
    return Figure(
        name=name,
        title=title,
        note=NOTES[field.key]
        + (
            f" {len(every):,} sampled steps in {len(steps)} columns: a cell shows the peak or dip that is farthest from the"
            " layer's median."
            if len(steps) < len(every)
            else ""
        ),
        description=_describe(field, samples.names, columns),
        plot={"data": [trace], "layout": layout},
        num_rows=len(samples.names),
    )


def _extremes(
    steps: Sequence[int], columns: Sequence[Sequence[float | None]], field: Column
) -> tuple[list[int], list[list[float | None]]]:
    """Reduce many sampled steps to `MOST_COLUMNS` columns without losing a peak or a dip.

    Returns:
        The first step of every column, except that the last column has the last step; and for each layer the value in the
        column that is farthest from the layer's median, None if no value is finite.
    """
    if len(steps) <= MOST_COLUMNS:
        return list(steps), [list(column) for column in columns]
    heights = [[_height(value, field) for value in layer] for layer in zip(*columns, strict=True)]
    middles = [statistics.median([height for height in layer if height is not None] or [0.0]) for layer in heights]
    starts = [place * len(steps) // MOST_COLUMNS for place in range(MOST_COLUMNS)]
    kept: list[list[float | None]] = []
    for start, stop in itertools.pairwise([*starts, len(steps)]):
        column: list[float | None] = []
        for layer, (layer_heights, middle) in enumerate(zip(heights, middles, strict=True)):
            far = {place: abs(height - middle) for place in range(start, stop) if (height := layer_heights[place]) is not None}
            column.append(columns[max(far, key=far.__getitem__)][layer] if far else None)
        kept.append(column)
    return [*(steps[start] for start in starts[:-1]), steps[-1]], kept


def _height(value: float | None, field: Column) -> float | None:
    """Place a value on the colour scale; zero and values that are not finite stay blank."""
    if field.is_fraction or value is None:
        return None if value is None else round(value, 3)
    return round(math.log10(value), 2) if value > 0 else None


def _colours(field: Column, low: float, high: float) -> dict[str, Any]:
    bottom, top = (low, high) if field.is_fraction else (math.log10(low), math.log10(high))
    if top - bottom < 0.1:  # a scale needs two different ends
        bottom, top = bottom - 0.5, top + 0.5
    ticks = [bottom, (bottom + top) / 2, top]
    said = [f"{100 * tick:.0f}\u00a0%" if field.is_fraction else f"{10**tick:.2g}".replace("e-0", "e-") for tick in ticks]
    bar = {"orientation": "h", "x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom", "ypad": 8, "len": 0.5, "thickness": 8}
    bar |= {"outlinewidth": 0, "tickvals": ticks, "ticktext": said, "tickfont": {"size": 11, "color": "@muted"}}
    scale = [[0, "@heat-low"], [0.5, "@heat-middle"], [1, "@heat-high"]]
    return {"colorscale": scale, "zmin": bottom, "zmax": top, "colorbar": bar}


def _layer_axis(names: Sequence[str]) -> dict[str, Any]:
    labels = [plain(name if len(name) <= 18 else f"…{name[-17:]}") for name in names]
    ticks = {"tickvals": list(range(len(names))), "ticktext": labels, "showgrid": False, "zeroline": False}
    upright = axis("") | ticks | {"type": "linear"}
    upright["tickfont"] = {"size": 11, "color": "@muted"}
    del upright["title"], upright["nticks"]
    return upright


def _span(steps: Sequence[int]) -> list[float]:
    """Pad the axis by half a column on both sides, but not before the first step."""
    half = (steps[-1] - steps[0]) / max(1, len(steps) - 1) / 2 or 0.5
    return [max(0.0, steps[0] - half), steps[-1] + half]


def _thinned(num: int, shown: int, what: str) -> str:
    return f" {shown} of {num:,} sampled steps are shown as {what}, evenly spaced." if shown < num else ""


def _describe(field: Column, names: Sequence[str], columns: Sequence[Sequence[float | None]]) -> str:
    """Describe the figure in words: the extremes at the first and at the last sampled step."""
    parts = [f"{field.name.capitalize()} of {len(names)} layers at {len(columns)} sampled steps."]
    for when, values in (("first", columns[0]), ("last", columns[-1])):
        present = [(value, name) for value, name in zip(values, names, strict=True) if value is not None]
        if present:
            (low, lowest), (high, highest) = min(present), max(present)
            parts.append(f"At the {when} step from {low:.3g} ({lowest}) to {high:.3g} ({highest}).")
        else:
            parts.append(f"At the {when} step no finite value.")
    return " ".join(parts)


def _histograms(run: Run, samples: Samples) -> Figure:
    """Draw the histograms of every layer at one step; the page also holds those of the other steps."""
    title = "Histograms of magnitudes"
    every = [step for step in samples.steps if any(_has_histogram(samples.rows.get((step, name))) for name in samples.names)]
    steps = [every[place] for place in evenly(len(every), MOST_HISTOGRAMS)]
    kinds = {kind: kept for kind in KINDS if (kept := _kept(samples, steps, kind)) is not None}
    if not kinds:
        return Figure(name="histograms", title=title, missing="The sampled steps of this run have no histograms.")
    layout = blank_layout()
    layout["margin"] |= {"t": 12, "r": 76}
    layout["xaxis"] = axis("Magnitude") | {"type": "log", "showline": True, "ticks": "outside", "tickcolor": "@line"}
    layout["yaxis"] = _layer_axis(samples.names)
    layout["yaxis"] |= {"ticktext": layout["yaxis"]["ticktext"][::-1], "range": [-0.3, len(samples.names) + 0.1]}
    names = [plain(name) for name in samples.names]
    layout["meta"] = {"histograms": kinds, "steps": steps, "names": names, "epoch_steps": steps_per_epoch(run)}
    return Figure(
        name="histograms",
        title=title,
        note="Fraction of a layer's elements by magnitude, in powers of two; dashed: at the first sampled step."
        + _thinned(len(every), len(steps), "moments"),
        description=f"Histograms of {', '.join(KINDS[kind] for kind in kinds)} of {len(names)} layers at {len(steps)} sampled"
        f" steps, from step {steps[0]:,} to step {steps[-1]:,}.",
        plot={"data": [], "layout": layout},
        choices={kind: KINDS[kind] for kind in kinds},
        num_samples=len(steps),
        num_rows=len(names),
    )


def _has_histogram(row: dict[str, Any] | None) -> bool:
    return row is not None and any(isinstance(row.get(f"{kind}_histogram"), dict) for kind in KINDS)


def _kept(samples: Samples, steps: Sequence[int], kind: str) -> dict[str, Any] | None:
    """Pack the histograms of one kind: fractions in per mille, over the bins that are used; zeros are separate.

    Returns:
        lowest: exponent of the first bin. shares: per step, per layer, per bin. zeros: per step and layer. `None` if empty.
    """
    found = [samples.column(step, lambda row: row.get(f"{kind}_histogram")) for step in steps]
    present = [shares for column in found for shares in column if isinstance(shares, dict)]
    used = [place for shares in present for place, share in enumerate(shares["fractions"]) if (finite(share) or 0) > 0]
    if not used:
        return None
    # One more bin on both sides, so that a curve starts and ends on its base line.
    first, last = max(0, min(used) - 1), max(used) + 1

    def packed(shares: dict[str, Any] | None) -> list[int]:
        return [_per_mille(share) for share in shares["fractions"][first : last + 1]] if isinstance(shares, dict) else []

    return {
        "lowest": present[0]["lowest_exponent"] + first,
        "shares": [[packed(shares) for shares in column] for column in found],
        "zeros": [[_per_mille(shares["zero_fraction"]) if shares else 0 for shares in column] for column in found],
    }


def _per_mille(share: Any) -> int:
    return round(finite(share, PER_MILLE) or 0)
