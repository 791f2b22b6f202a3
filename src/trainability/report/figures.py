"""Records of a run -> the figures of its curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainability.report.look import LEGEND, Figure, axis, blank_layout
from trainability.report.series import (
    chance_levels,
    downsample,
    epoch_means,
    finite,
    first_nonfinite_step,
    positions,
    spans_decades,
    steps_per_epoch,
)
from trainability.training.record import Run


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A quantity that training and validation share.

    Attributes:
        key: its name in the records, after `train_` and `val_` in evaluations.
        title: heading.
        axis: name and unit.
        unit: after a number.
        scale: from the record's number to the figure's.
        digits: d3 format of a number.
    """

    key: str
    title: str
    axis: str
    unit: str
    scale: float
    digits: str

    def write(self, value: float) -> str:
        """Write a number of the figure with its unit."""
        return f"{value:{self.digits}}{self.unit}"


METRICS = {
    "loss": Metric(key="loss", title="Loss", axis="Cross-entropy (nats)", unit="", scale=1, digits=".4g"),
    "top1": Metric(key="top1_error", title="Top-1 error", axis="Top-1 error (%)", unit="\u00a0%", scale=100, digits=".4g"),
    "top5": Metric(key="top5_error", title="Top-5 error", axis="Top-5 error (%)", unit="\u00a0%", scale=100, digits=".4g"),
}


def metric_figure(run: Run, name: str) -> Figure:
    """Draw a metric: training per step and per epoch, validation per epoch, chance level.

    Args:
        run: a run directory.
        name: a key of `METRICS`.
    """
    metric, levels = METRICS[name], chance_levels(run)
    level = finite(getattr(levels, metric.key), metric.scale) if levels else None
    if levels and level is None:
        num_classes = len(run.data["class_names"])
        why = f"Not defined: the data has {num_classes} classes, and any five guesses would contain the right one."
        return Figure(name=name, title=metric.title, missing=why)
    step_values = [finite(row[metric.key], metric.scale) for row in run.steps]
    epochs = [row["epoch"] for row in run.evaluations]
    train, validation = (
        [finite(row[f"{part}_{metric.key}"], metric.scale) for row in run.evaluations] for part in ("train", "val")
    )
    if not any(value is not None for value in (*step_values, *train, *validation)):
        recorded = run.steps or run.evaluations
        why = "Every value recorded so far is NaN or infinite." if recorded else "No step has been recorded yet."
        return Figure(name=name, title=metric.title, missing=why)

    xs, values = downsample(positions(run), step_values)
    marker = _marker_size(run)
    # An epoch's mean belongs to the middle of the epoch; validation follows its end.
    middles = [epoch - 0.5 for epoch in epochs]
    traces = [
        _trace("train-step", xs, values, metric, hover="epoch %{x:.2f}", mode="lines", line={"width": 1}),
        _trace("train", middles, train, metric, hover="mean of epoch %{customdata}", mode="lines+markers")
        | {"customdata": epochs, "marker": {"size": marker, "symbol": "circle", "color": "@train"}},
        _trace("validation", epochs, validation, metric, hover="after epoch %{x}", mode="lines+markers")
        | {"marker": {"size": marker + 1, "symbol": "diamond", "color": "@validation"}},
    ]
    layout = _layout(run)
    is_log = name == "loss" and spans_decades((*train, *validation) if epochs else step_values)
    layout["yaxis"] = axis(metric.axis) | {"type": "log" if is_log else "linear", "rangemode": "tozero"}
    if level is not None:
        _mark_level(layout, "chance", level, f"chance<br>{metric.write(level)}", "dash")
    _mark_nonfinite(layout, run)
    return Figure(
        name=name,
        title=metric.title,
        note=_chance_note(name, run, metric, level),
        description=_describe(metric, epochs, train, validation, step_values, level),
        plot={"data": traces, "layout": layout},
        has_scales=name == "loss",
    )


def schedule_figure(run: Run) -> Figure:
    """Draw the learning rate above the norm of the gradient before clipping, with the norm at which it is clipped."""
    name, title, clip = "schedule", "Learning rate and gradient norm", run.config.optim.clip
    norms = [finite(row["grad_norm"]) for row in run.steps]
    rates = [finite(row["lr"]) for row in run.steps]
    present = [norm for norm in norms if norm is not None]
    if not run.steps:
        return Figure(name=name, title=title, missing="No step has been recorded yet.")
    traces = [
        _schedule_trace(run, "ink", positions(run), rates, "Learning rate") | {"yaxis": "y"},
        _schedule_trace(run, "train-step", positions(run), norms, "Gradient norm"),
        _schedule_trace(run, "train", *epoch_means(run, norms), "Gradient norm, epoch mean")
        | {"mode": "lines+markers", "marker": {"size": _marker_size(run)}},
    ]
    traces[0]["line"]["shape"] = "hv"
    # Under cosine and warm-up the rate comes from or goes to zero, where a logarithm shows nothing but the last steps.
    is_log = run.config.optim.schedule in ("plateau", "steps") and not run.config.optim.warmup_steps and spans_decades(rates, 5)
    layout = _layout(run)
    layout["xaxis"]["anchor"] = "y2"
    layout["yaxis"] = axis("Learning rate") | {
        "domain": [0.62, 1],
        "rangemode": "tozero",
        **({"type": "log", "dtick": 1} if is_log else {"type": "linear", "nticks": 4}),
    }
    layout["yaxis2"] = axis("Gradient norm") | {"domain": [0, 0.5], "type": "log", "anchor": "x", "nticks": 3}
    num_clipped = sum(bool(row["clipped"]) for row in run.steps)
    if clip is not None:
        _mark_level(layout, "clip", clip, f"clip<br>{clip:.4g}", "dot", axis="y2")
        clipped = f"clipped to {clip:g} in {num_clipped:,} of {len(run.steps):,} steps"
    else:
        clipped = "clipping is off"
    _mark_nonfinite(layout, run)
    span = f"from {min(present):.3g} to {max(present):.3g}" if present else "never finite"
    return Figure(
        name=name,
        title=title,
        note=f"L2 norm over all parameters, before clipping; {clipped}.",
        description=f"Learning rate and gradient norm against {_unit(run).lower()}. Gradient norm {span}; {clipped}. "
        f"Learning rate {_first_last(rates)}.",
        plot={"data": traces, "layout": layout},
    )


def all_figures(run: Run) -> list[Figure]:
    """Make the figures of a run, in the order of the page."""
    return [*(metric_figure(run, name) for name in METRICS), schedule_figure(run)]


def _unit(run: Run) -> str:
    return "Epoch" if steps_per_epoch(run) else "Step"


def _marker_size(run: Run) -> int:
    return 7 if len(run.evaluations) <= 40 else 4


def _trace(
    role: str, xs: Sequence[float], ys: Sequence[float | None], metric: Metric, *, hover: str, **style: Any
) -> dict[str, Any]:
    line = {"width": 2} | style.pop("line", {}) | {"color": f"@{role}"}
    hover = f"{LEGEND[role]}<br>%{{y:{metric.digits}}}{metric.unit}, {hover}<extra></extra>"
    return {"type": "scatter", "name": role, "x": list(xs), "y": list(ys), "line": line, "hovertemplate": hover, **style}


def _schedule_trace(run: Run, role: str, xs: list[float], values: list[float | None], label: str) -> dict[str, Any]:
    xs, ys = downsample(xs, values)
    hover = f"{label} %{{y:.4g}}<br>{_unit(run).lower()} %{{x:.4~g}}<extra></extra>"
    line = {"width": 1 if role == "train-step" else 2, "color": f"@{role}"}
    return {
        "type": "scatter",
        "mode": "lines",
        "name": role,
        "x": xs,
        "y": ys,
        "yaxis": "y2",
        "line": line,
        "hovertemplate": hover,
    }


def _layout(run: Run) -> dict[str, Any]:
    end = 1.02 * max(*positions(run), *(row["epoch"] for row in run.evaluations), 0, 0)  # room for the last marker
    across = {"showgrid": False, "showline": True, "ticks": "outside", "tickcolor": "@line", "range": [0, end]}
    return blank_layout() | {"xaxis": axis(_unit(run)) | across}


def _mark_level(layout: dict[str, Any], role: str, level: float, text: str, dash: str, axis: str = "y") -> None:
    """Draw a level right across, and name it in the right margin, where no curve can cover the name."""
    line = {"color": "@chance", "width": 1.5, "dash": dash}
    place = {"xref": "paper", "yref": axis, "name": role}
    layout["shapes"].append({"type": "line", "x0": 0, "x1": 1, "y0": level, "y1": level, "line": line, **place})
    layout["annotations"].append(
        {"x": 1, "y": level, "text": text, "xanchor": "left", "xshift": 5, "align": "left", "showarrow": False, **place}
        | {"font": {"size": 11, "color": "@muted"}}
    )


def _mark_nonfinite(layout: dict[str, Any], run: Run) -> None:
    """Draw where the run had its first NaN or infinity."""
    step = first_nonfinite_step(run)
    if step is None:
        return
    x = step / (steps_per_epoch(run) or 1)
    place = {"xref": "x", "yref": "paper", "name": "nonfinite"}
    line = {"color": "@bad", "width": 1.5, "dash": "dot"}
    layout["shapes"].append({"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "line": line, **place})
    layout["annotations"].append(
        {"x": x, "y": 1, "text": f"NaN or Inf, step {step:,}", "xanchor": "right", "yanchor": "bottom", **place}
        | {"showarrow": False, "font": {"size": 11, "color": "@bad"}}
    )


def _chance_note(name: str, run: Run, metric: Metric, level: float | None) -> str:
    if level is None:
        return "Chance level unknown: the run has not said how many classes there are."
    num_classes = len(run.data["class_names"])
    formula = {"loss": f"ln {num_classes}", "top1": f"1 − 1/{num_classes}", "top5": f"1 − 5/{num_classes}"}[name]
    return f"Chance level {formula} = {metric.write(level)}."


def _first_last(values: Sequence[float | None], metric: Metric | None = None) -> str:
    present = [value for value in values if value is not None]
    if not present:
        return "has no finite value"
    first, last = (metric.write(value) if metric else f"{value:.4g}" for value in (present[0], present[-1]))
    return f"{first} at first, {last} at last"


def _describe(
    metric: Metric,
    epochs: list[int],
    train: list[float | None],
    validation: list[float | None],
    steps: list[float | None],
    level: float | None,
) -> str:
    """Say in words what the picture shows."""
    parts = [f"{metric.title} over {len(epochs)} finished epochs and {len(steps):,} steps."]
    if epochs:
        parts.append(f"Training, epoch mean: {_first_last(train, metric)}.")
        parts.append(f"Validation: {_first_last(validation, metric)}.")
    else:
        parts.append(f"Training, each step: {_first_last(steps, metric)}.")
    if level is not None:
        parts.append(f"Chance level: {metric.write(level)}.")
    return " ".join(parts)
