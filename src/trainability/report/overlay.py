"""Draw the curves of several runs in one figure per quantity, each run in its own colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainability.formats import finite
from trainability.report import marks
from trainability.report.against import Reference
from trainability.report.confusion import plain
from trainability.report.figures import METRICS, NORM, RATE, Metric, Quantity, nothing_in, points, shape_of, step_trace
from trainability.report.look import LEGEND, NUM_RUN_COLOURS, Figure, axis, blank_layout
from trainability.report.series import (
    MAX_POINTS,
    bucket_means,
    chance_levels,
    column,
    downsample,
    epoch_means,
    epoch_middles,
    positions,
    recorded,
    rounded,
    spans_decades,
    steps_per_epoch,
)
from trainability.training.record import Run

MOST_POINTS = 4 * MAX_POINTS
"""Most points of a figure, divided among its runs, so that a page of many runs opens as fast as one of few."""

_NUM_MEANS = 80
_MEANS = "epoch mean, or that of nearby steps"

Overlaid = Sequence[tuple[str, str, Run]]
"""Role of the colour, name, and run."""


def all_figures(runs: Overlaid, reference: Reference | None = None) -> list[Figure]:
    """Make the figures of compared runs, in the order of the page."""
    metrics = [_metric_figure(runs, name, reference) for name in METRICS]
    if any(_is_foreign(run) for _, _, run in runs):  # such a loop may have no errors; train always has
        metrics = [figure for figure in metrics if figure.plot is not None or figure.name == "loss"]
    return [*metrics, _quantity_figure(runs, NORM, "norm", is_log=True), _quantity_figure(runs, RATE, "rate", is_log=False)]


def _metric_figure(runs: Overlaid, name: str, reference: Reference | None) -> Figure:
    metric = METRICS[name]
    traces, words = [], []
    for number, (role, label, run) in enumerate(runs):
        traces += _curves(run, metric, _style(number, role, label, run), most=MOST_POINTS // len(runs))
        values = [value for value in column(run.evaluations, f"val_{metric.key}", metric.scale) if value is not None]
        words.append(f"{label}: {metric.write(values[-1])} at last" if values else f"{label}: no value")
    if not traces:
        return Figure(name=name, title=metric.title, missing="None of the runs has a finite value.")
    layout = _layout(runs)
    every = [value for trace in traces if trace["name"] != "train-step" for value in trace["y"]]
    is_foreign = any(_is_foreign(run) for _, _, run in runs)
    title = "Loss" if is_foreign and name == "loss" else metric.axis
    layout["yaxis"] = axis(title) | {"type": "log" if name == "loss" and spans_decades(every) else "linear"}
    layout["yaxis"]["rangemode"] = "tozero"
    levels = {getattr(found, metric.key) if (found := chance_levels(run)) else None for _, _, run in runs}
    level = finite(levels.pop(), metric.scale) if len(levels) == 1 else None
    if level is not None:
        marks.mark_level(layout, "chance", level, f"chance<br>{metric.write(level)}", "dash")
    known = finite(getattr(reference, metric.key, None), metric.scale)
    if reference is not None and known is not None:
        marks.mark_level(layout, "reference", known, f"{reference.label}<br>{metric.write(known)}", "dot")
    return Figure(
        name=name,
        title=metric.title,
        note=f"Solid: validation; dashed: training, {_MEANS if is_foreign else 'epoch mean'}; faint: training, each step.",
        description=f"{metric.title} of {len(runs)} runs, validation. {'; '.join(words)}.",
        plot={"data": traces, "layout": layout},
        has_scales=True,
    )


def _curves(run: Run, metric: Metric, style: dict[str, Any], *, most: int) -> list[dict[str, Any]]:
    label, meta, colour = style["label"], style["meta"], style["colour"]
    steps = column(run.steps, metric.key, metric.scale)
    hover = f"<br>%{{y:{metric.digits}}}{metric.unit}"
    traces = []
    if nothing_in(run, metric.key, steps) is None:
        raw = step_trace(run, steps, f"{label}<br>{LEGEND['train-step']}{hover}", most=most)
        traces.append(raw | {"opacity": 0.4, "meta": raw["meta"] | meta, "line": {"width": 1, "color": colour}})
    train, validation = (column(run.evaluations, f"{part}_{metric.key}", metric.scale) for part in ("train", "val"))
    middles: Sequence[float] = epoch_middles(run)
    if _is_foreign(run) and all(value is None for value in train):
        middles, train = bucket_means(positions(run.steps), steps, _NUM_MEANS)
    for role, xs, values, line in (
        ("train", middles, train, {"width": 1.5, "dash": "4px,2px"}),
        ("validation", positions(run.evaluations), validation, {"width": 2}),
    ):
        if any(value is not None for value in values):
            thin = downsample(xs, values)
            trace = {"type": "scatter", "name": role, "x": thin[0], "y": rounded(thin[1]), "line": line | {"color": colour}}
            trace |= {"meta": meta, "hovertemplate": f"{label}<br>{LEGEND[role]}{hover}, {{position}}<extra></extra>"}
            trace |= style["points"] if role == "validation" else {"mode": "lines"}
            traces.append(trace)
    return traces


def _quantity_figure(runs: Overlaid, quantity: Quantity, name: str, *, is_log: bool) -> Figure:
    traces = []
    for number, (role, label, run) in enumerate(runs):
        rows = recorded(run.steps, quantity.key)
        values, style = column(rows, quantity.key), _style(number, role, label, run)
        if nothing_in(run, quantity.key, values) is not None:
            continue
        hover = f"{style['label']}<br>{quantity.label} %{{y:.4g}}"
        raw = step_trace(run, values, hover, rows, most=MOST_POINTS // len(runs))
        # Equal rates coincide: the first is drawn thicker, so that the later ones do not hide it.
        hiding = sum(
            _lies_on(values, column(recorded(other.steps, quantity.key), quantity.key)) for _, _, other in runs[number + 1 :]
        )
        line = {"width": 1 if is_log else 2 + 2 * min(hiding, 3), "color": style["colour"]}
        if not is_log:
            traces.append(raw | {"name": quantity.key, "meta": style["meta"], "line": line | {"shape": shape_of(values)}})
            continue
        traces.append(raw | {"opacity": 0.4, "meta": raw["meta"] | style["meta"], "line": line})
        xs, means = downsample(*epoch_means(rows, values))
        if not xs:
            xs, means = bucket_means(positions(rows), values, _NUM_MEANS)
        over = {"type": "scatter", "mode": "lines", "name": "train", "x": xs, "y": rounded(means), "meta": style["meta"]}
        traces.append(over | {"line": line | {"width": 2}, "hovertemplate": f"{hover}, mean, {{position}}<extra></extra>"})
    if not traces:
        return Figure(name=name, title=quantity.title, missing="None of the runs has a finite value.")
    layout = _layout(runs)
    layout["yaxis"] = axis(quantity.axis) | {"type": "log" if is_log else "linear", "rangemode": "tozero"}
    return Figure(
        name=name,
        title=quantity.title,
        note=f"Solid: {_MEANS if any(_is_foreign(r) for *_, r in runs) else 'epoch mean'}; faint: each step." if is_log else "",
        description=f"{quantity.title} of {len(runs)} runs.",
        plot={"data": traces, "layout": layout},
        has_scales=True,
    )


def _is_foreign(run: Run) -> bool:
    """Whether a loop other than `train` wrote the run; its epochs may be unknown."""
    return run.config is None


def _lies_on(values: Sequence[float | None], others: Sequence[float | None]) -> bool:
    """Whether one curve hides the other, or its beginning."""
    common = min(len(values), len(others))
    return common > 1 and values[:common] == others[:common]


SYMBOLS = ("diamond", "circle", "square", "triangle-up")
"""Symbol of the validation points: when colours repeat, another symbol distinguishes the runs."""


def _style(number: int, role: str, label: str, run: Run) -> dict[str, Any]:
    colour = f"@{role}"
    return {
        "label": plain(label),
        "colour": colour,
        "points": points(run, colour, SYMBOLS[number // NUM_RUN_COLOURS % len(SYMBOLS)]),
        "meta": {"run": f"of-{number}", "per_epoch": steps_per_epoch(run), "colour": colour},
    }


def _layout(runs: Overlaid) -> dict[str, Any]:
    """Make the layout over the longest run, in epochs, or in steps if a run's epoch length is unknown."""
    lengths = [max([*positions(run.steps), *positions(run.evaluations), 0]) for _, _, run in runs]
    epochs = [steps_per_epoch(run) for _, _, run in runs]
    across = {"showgrid": False, "showline": True, "ticks": "outside", "tickcolor": "@line"}
    ends = {"step": 1.02 * max(lengths) or 1}
    if all(epochs):
        ends["epoch"] = 1.02 * max(length / per for length, per in zip(lengths, epochs, strict=True) if per) or 1
    layout = blank_layout() | {"xaxis": axis("Step") | across | {"range": [0, ends["step"]]}}
    layout["margin"]["r"] = 56  # for the names of levels
    layout["meta"] = {"per_epoch": epochs[0] if all(epochs) else None, "ends": ends}
    return layout
