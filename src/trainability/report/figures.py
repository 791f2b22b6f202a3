"""Draw the curves of a run from its records."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainability.formats import finite
from trainability.report import marks
from trainability.report.against import Reference
from trainability.report.look import LEGEND, Figure, axis
from trainability.report.series import (
    MAX_POINTS,
    bucket_means,
    chance_levels,
    column,
    downsample,
    epoch_means,
    epoch_middles,
    num_classes,
    positions,
    recorded,
    rounded,
    spans_decades,
)
from trainability.training.record import Run


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A quantity that is measured in training and in validation.

    Attributes:
        key: its name in the records; in evaluations after `train_` and `val_`.
        title: heading.
        axis: name and unit.
        unit: written after a number.
        scale: factor from the record's number to the figure's.
        digits: d3 format of a number.
    """

    key: str
    title: str
    axis: str
    unit: str
    scale: float
    digits: str

    def write(self, value: float) -> str:
        """Write a number with its unit."""
        return f"{value:{self.digits}}{self.unit}"


METRICS = {
    "loss": Metric(key="loss", title="Loss", axis="Cross-entropy (nats)", unit="", scale=1, digits=".4g"),
    "top1": Metric(key="top1_error", title="Top-1 error", axis="Top-1 error (%)", unit="\u00a0%", scale=100, digits=".4g"),
    "top5": Metric(key="top5_error", title="Top-5 error", axis="Top-5 error (%)", unit="\u00a0%", scale=100, digits=".4g"),
}


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A quantity with one value per step.

    Attributes:
        key: its name in `steps.jsonl`.
        title: heading.
        axis: name and unit.
        label: in the hover text.
    """

    key: str
    title: str
    axis: str
    label: str


RATE = Quantity(key="lr", title="Learning rate", axis="Learning rate", label="Learning rate")
NORM = Quantity(key="gradient_norm", title="Gradient norm", axis="L2 norm before clipping", label="Gradient norm")
SPEED = Quantity(key="images_per_second", title="Speed", axis="Images per second", label="Images/s")
STEP_SPEED = Quantity(key="steps_per_second", title="Speed", axis="Steps per second", label="Steps/s")


def all_figures(run: Run, reference: Reference | None = None) -> list[Figure]:
    """Make the figures of a run, in the order of the page.

    Args:
        run: a run directory.
        reference: published error to draw with the run's.
    """
    metrics = [metric_figure(run, name, reference) for name in METRICS]
    found = [*metrics, norm_figure(run), rate_figure(run), speed_figure(run)]
    # Another loop may have no errors or evaluations; train always has both.
    return [figure for figure in found if run.config is not None or figure.plot is not None or figure.name == "loss"]


def metric_figure(run: Run, name: str, reference: Reference | None = None) -> Figure:
    """Draw a metric: training per step and per epoch, validation per epoch, chance level.

    Args:
        run: a run directory.
        name: a key of `METRICS`.
        reference: published error.
    """
    metric, levels = METRICS[name], chance_levels(run)
    level = finite(getattr(levels, metric.key), metric.scale) if levels else None
    if levels is None and name == "loss":  # another loop may not give its classes; the doctor may know the loss at chance
        level = finite((run.findings or {}).get("chance_loss"))
    if levels and level is None:
        why = f"Not defined: the data has {num_classes(run)} classes, and any five guesses would contain the right one."
        return Figure(name=name, title=metric.title, missing=why)
    steps = column(run.steps, metric.key, metric.scale)
    train, validation = (column(run.evaluations, f"{part}_{metric.key}", metric.scale) for part in ("train", "val"))
    if (why := nothing_in(run, metric.key, steps, train, validation)) is not None:
        return Figure(name=name, title=metric.title, missing=why)
    epochs = [row.get("epoch") for row in run.evaluations]
    hover = f"<br>%{{y:{metric.digits}}}{metric.unit}"
    traces = [
        step_trace(run, steps, f"{LEGEND['train-step']}{hover}"),
        _trace("train", *downsample(epoch_middles(run), train), f"{LEGEND['train']}{hover}, about {{position}}")
        | points(run, "@train", "circle"),
        _trace(
            "validation", *downsample(positions(run.evaluations), validation), f"{LEGEND['validation']}{hover}, {{position}}"
        )
        | points(run, "@validation", "diamond"),
    ]
    layout = marks.time_layout(run)
    is_log = name == "loss" and spans_decades((*train, *validation) if epochs else steps)
    title = metric.axis if run.config is not None or name != "loss" else "Loss"
    layout["yaxis"] = axis(title) | {"type": "log" if is_log else "linear", "rangemode": "tozero"}
    if level is not None:
        marks.mark_level(layout, "chance", level, f"chance<br>{metric.write(level)}", "dash")
    known = finite(getattr(reference, metric.key, None), metric.scale)
    if reference is not None and known is not None:
        marks.mark_level(layout, "reference", known, f"{reference.label}<br>{metric.write(known)}", "dot")
    if name == "loss":
        marks.mark_plateau(layout, run)
    _mark_times(layout, run)
    drawn = [f"Reference, {reference.label}: {metric.write(known)}."] if reference is not None and known is not None else []
    return Figure(
        name=name,
        title=metric.title,
        note=_chance_note(name, run, metric, level),
        description=f"{_describe(metric, epochs, train, validation, steps, level)} {marks.in_words(run, drawn)}".strip(),
        plot={"data": traces, "layout": layout},
        has_scales=True,
    )


def norm_figure(run: Run) -> Figure:
    """Draw the gradient norm before clipping, and the clipping threshold."""
    clip = run.config.optim.clip if run.config is not None else run.loop.get("clip")
    rows = recorded(run.steps, NORM.key)
    norms = column(rows, NORM.key)
    if (why := nothing_in(run, NORM.key, norms)) is not None:
        return Figure(name="norm", title=NORM.title, missing=why)
    means = downsample(*epoch_means(rows, norms))
    traces = [
        step_trace(run, norms, f"{NORM.label} %{{y:.4g}}", rows),
        _trace("train", *means, f"{NORM.label} %{{y:.4g}}<br>epoch mean, about {{position}}") | points(run, "@train", "circle"),
    ]
    layout = marks.time_layout(run)
    layout["yaxis"] = axis(NORM.axis) | {"type": "log", "rangemode": "tozero"}
    if clip is not None:
        marks.mark_level(layout, "clip", clip, f"clip<br>{clip:.4g}", "dot")
        num_clipped = sum(bool(row.get("clipped")) for row in run.steps)
        clipped = f"clipped to {clip:g} in {num_clipped:,} of {len(run.steps):,} steps"
    elif run.config is None:
        known = [row["clipped"] for row in run.steps if row.get("clipped") is not None]
        clipped = f"{sum(known):,} of {len(known):,} measured steps were clipped"
    else:
        clipped = "clipping is off"
    _mark_times(layout, run)
    present = [norm for norm in norms if norm is not None]
    words = f"Gradient norm from {min(present):.3g} to {max(present):.3g}; {clipped}. {marks.in_words(run)}"
    return Figure(
        name="norm",
        title=NORM.title,
        note=f"Over all parameters, before clipping; {clipped}.",
        description=words.strip(),
        plot={"data": traces, "layout": layout},
        has_scales=True,
    )


def rate_figure(run: Run) -> Figure:
    """Draw the learning rate."""
    rates = column(run.steps, RATE.key)
    if (why := nothing_in(run, RATE.key, rates)) is not None:
        return Figure(name="rate", title=RATE.title, missing=why)
    xs, ys = downsample(positions(run.steps), rates)
    trace = _trace("ink", xs, ys, f"{RATE.label} %{{y:.4g}}<br>{{position}}")
    trace["line"]["shape"] = shape_of(rates)
    # With cosine or warm-up the learning rate reaches zero, where a log axis would show only a few steps.
    schedule, warmup_steps = ("", None) if run.config is None else (run.config.optim.schedule, run.config.optim.warmup_steps)
    is_log = schedule in ("plateau", "steps") and not warmup_steps and spans_decades(rates, 5)
    layout = marks.time_layout(run)
    layout["yaxis"] = axis(RATE.axis) | {"rangemode": "tozero", "type": "log" if is_log else "linear"}
    _mark_times(layout, run)
    warmup = f", {warmup_steps:,} steps of warm-up" if warmup_steps else ""
    return Figure(
        name="rate",
        title=RATE.title,
        note=f"Schedule: {schedule}{warmup}." if schedule else "",
        description=f"Learning rate {_first_last(rates)}. {marks.in_words(run)}".strip(),
        plot={"data": [trace], "layout": layout},
        has_scales=True,
    )


def shape_of(rates: Sequence[float | None]) -> str:
    """Choose a step curve for a learning rate that changes occasionally, and a line for one that changes all the time."""
    changes = sum(first != second for first, second in itertools.pairwise(rates))
    return "hv" if changes <= len(rates) / 10 else "linear"


def speed_figure(run: Run) -> Figure:
    """Draw the images per second between reads of the device."""
    quantity = SPEED if run.config is not None else STEP_SPEED
    rows = [row for row in run.steps if quantity.key in row]
    speeds = column(rows, quantity.key)
    if (why := nothing_in(run, quantity.key, speeds)) is not None:
        return Figure(name="speed", title=quantity.title, missing=why)
    layout = marks.time_layout(run)
    layout["yaxis"] = axis(quantity.axis) | {"rangemode": "tozero", "type": "linear"}
    present = [speed for speed in speeds if speed is not None]
    digits = ",.0f" if run.config is not None else ",.2f"
    return Figure(
        name="speed",
        title=quantity.title,
        note="Between two reads of the device" + (", without evaluation and saving." if run.config is not None else "."),
        description=f"{quantity.axis}, from {min(present):{digits}} to {max(present):{digits}}.",
        plot={"data": [step_trace(run, speeds, f"{quantity.label} %{{y:{digits}}}", rows)], "layout": layout},
        has_scales=True,
    )


def nothing_in(run: Run, key: str, *columns: Sequence[float | None]) -> str | None:
    """Return why there is nothing to draw of `key`, or `None` if there is something."""
    if any(value is not None for values in columns for value in values):
        return None
    if not run.steps and not run.evaluations:
        return "No step has been recorded yet."
    rows, names = (*run.steps, *run.evaluations), (key, f"train_{key}", f"val_{key}")
    if any(name in row for row in rows for name in names):
        return "Every value recorded so far is NaN or infinite."
    return "Not recorded by this run."


def step_trace(
    run: Run,
    values: Sequence[float | None],
    hover: str,
    rows: Sequence[dict[str, Any]] | None = None,
    *,
    most: int = MAX_POINTS,
) -> dict[str, Any]:
    """Make the curve of every step; a long curve also carries bucket means, which the page uses for smoothing."""
    places = positions(run.steps if rows is None else rows)
    trace = _trace("train-step", *downsample(places, values, most), f"{hover}, {{position}}")
    trace["line"]["width"] = 1
    trace["meta"] = {"smooth": True}
    if len(places) > most:
        xs, ys = bucket_means(places, values, most)
        trace["meta"] |= {"x": rounded(xs), "y": rounded(ys)}
    return trace


def _trace(role: str, xs: Sequence[float], ys: Sequence[float | None], hover: str) -> dict[str, Any]:
    line = {"width": 2, "color": f"@{role}"}
    place = {"x": list(xs), "y": rounded(ys), "mode": "lines", "line": line}
    return {"type": "scatter", "name": role, **place, "hovertemplate": f"{hover}<extra></extra>"}


def points(run: Run, colour: str, symbol: str) -> dict[str, Any]:
    """Mark the epochs of a curve, if there is room for marks."""
    num_epochs = len(run.evaluations)
    if num_epochs > 150:
        return {"mode": "lines"}
    return {"mode": "lines+markers", "marker": {"size": 7 if num_epochs <= 40 else 4, "symbol": symbol, "color": colour}}


def _mark_times(layout: dict[str, Any], run: Run) -> None:
    marks.mark_findings(layout, run)
    marks.mark_nonfinite(layout, run)


def _chance_note(name: str, run: Run, metric: Metric, level: float | None) -> str:
    if level is None:
        return "" if run.config is None else "Chance level unknown: the number of classes is not recorded."
    num = num_classes(run)
    if num is None:
        return f"Chance level {metric.write(level)}."
    formula = {"loss": f"ln {num}", "top1": f"1 − 1/{num}", "top5": f"1 − 5/{num}"}[name]
    return f"Chance level {formula} = {metric.write(level)}."


def _first_last(values: Sequence[float | None], metric: Metric | None = None) -> str:
    present = [value for value in values if value is not None]
    if not present:
        return "has no finite value"
    first, last = (metric.write(value) if metric else f"{value:.4g}" for value in (present[0], present[-1]))
    return f"{first} at first, {last} at last"


def _describe(
    metric: Metric,
    epochs: Sequence[Any],
    train: list[float | None],
    validation: list[float | None],
    steps: list[float | None],
    level: float | None,
) -> str:
    """Describe the figure in words."""
    parts = [f"{metric.title} over {len(epochs)} finished epochs and {len(steps):,} steps."]
    if epochs:
        parts.append(f"Training, epoch mean: {_first_last(train, metric)}.")
        parts.append(f"Validation: {_first_last(validation, metric)}.")
    else:
        parts.append(f"Training, each step: {_first_last(steps, metric)}.")
    if level is not None:
        parts.append(f"Chance level: {metric.write(level)}.")
    return " ".join(parts)
