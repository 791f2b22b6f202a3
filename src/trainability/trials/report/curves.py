"""Runs of a trial -> its figures: loss and errors as small multiples, the ranges of gradients, the gradients of probed starts.

All curves of a trial share their axes, so that two pictures can be compared by eye. The time axis is in steps, like the
predicted plateau.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from trainability.faults import loss_divisor
from trainability.report import figures
from trainability.report.look import Figure, axis, blank_layout
from trainability.report.series import chance_levels, downsample, finite, first_nonfinite_step, spans_decades, steps_per_epoch
from trainability.training.record import Run
from trainability.trials.measure import Measured, largest_gradient
from trainability.trials.report.start import layer_names
from trainability.trials.report.table import VARIANT_WORDS
from trainability.trials.run import Result
from trainability.trials.trial import VARIANTS, Variant

MAX_POINTS = 240
"""Most points of a curve: more than a small picture has pixels for."""

REPORTED = (1e-7, 1e-5, 2e-1)
"""Largest gradients that the log reports."""

COLOURS: dict[Variant, str] = {"as-run": "@run-4", "as-told": "@run-7", "repaired": "@run-3"}
PLAN_COLOURS = ("@run-3", "@run-4", "@run-7", "@run-1")


@dataclass(frozen=True, kw_only=True)
class TrialRun:
    """A run of a trial, with its measurements."""

    variant: Variant
    seed: int
    seen: Measured
    plateau_steps: float | None

    @property
    def records(self) -> Run:
        """Contents of the run directory."""
        return self.seen.run

    @property
    def planned_steps(self) -> int:
        """Steps that the trial gave the run."""
        per_epoch = steps_per_epoch(self.records)
        return per_epoch * self.records.train_config.optim.epochs if per_epoch else len(self.records.steps)


@dataclass(frozen=True, kw_only=True)
class FigureRow:
    """A row of small pictures with its heading; `has_variants` if each picture shows all variants."""

    title: str
    note: str
    figures: tuple[Figure, ...]
    has_variants: bool = False


def read_trial_runs(result: Result) -> list[TrialRun]:
    """Read the runs of a trial."""
    return [
        TrialRun(variant=variant, seed=seed, seen=Measured(folder), plateau_steps=result.runs[variant, seed]["plateau_steps"])
        for (variant, seed), folder in result.folders.items()
    ]


def figure_rows(result: Result, runs: Sequence[TrialRun]) -> list[FigureRow]:
    """Draw loss, top-1 and top-5 error, a row per variant, and the gradients."""
    rows = []
    for variant in result.trial.variants:
        own = [run for run in runs if run.variant == variant]
        if own:
            cells = tuple(_cell(result.trial.id, name, own, runs) for name in figures.METRICS)
            title = VARIANT_WORDS[variant].capitalize() if len(result.trial.variants) > 1 else "As it ran"
            rows.append(FigureRow(title=title, note=_row_note(own), figures=cells))
    gradients = _gradients(result.trial.id, runs) if runs else []
    if gradients:
        note = "The smallest and the largest element of a layer's gradient by magnitude, the larger drawn through."
        rows.append(FigureRow(title="Gradient ranges", note=note, figures=tuple(gradients), has_variants=True))
    return rows


def _row_note(runs: Sequence[TrialRun]) -> str:
    """Describe what is unusual in a row."""
    faults, notes = runs[0].records.train_config.run.faults, []
    if len(runs) > 1:
        notes.append(f"{len(runs)} seeds overlaid.")
    if "metric-of-last-batch" in faults and runs[0].seen.answers is not None:
        notes.append(
            "The errors drawn are what the faulty metric showed; the dotted line is the true error of this very run, "
            "from every answer of the trained net: the same weights, another metric."
        )
    divisor = loss_divisor(runs[0].records.train_config)
    if divisor > 1:
        notes.append(f"The training loss drawn is the true one over {divisor}: on it, guessing shows at ln C / {divisor}.")
    return " ".join(notes)


def _cell(trial: str, name: str, own: Sequence[TrialRun], every: Sequence[TrialRun]) -> Figure:
    """Draw a metric of a variant's runs, on the axes that all runs of the trial share."""
    metric, variant = figures.METRICS[name], own[0].variant
    levels = chance_levels(own[0].records)
    level = finite(getattr(levels, metric.key), metric.scale) if levels else None
    title = metric.title if level is None else f"{metric.title}, chance {metric.write(level)}"
    place = f"{trial}-{variant}-{name}"
    if levels and level is None:
        return Figure(name=place, title=title, missing="Not defined below five classes.")
    traces = [trace for run in own for trace in _curves(run, metric, is_thin=len(own) > 1)]
    if not any(value is not None for trace in traces for value in trace["y"]):
        return Figure(name=place, title=title, missing="No finite value: it was NaN from the first step.")
    layout = _layout(max(run.planned_steps for run in every))
    layout["yaxis"] |= _scale(name, metric, every, level)
    _shade_plateau(layout, own[0])
    if level is not None:
        _draw_level(layout, "chance", level, "dash", "@chance")
    for run in own:
        _mark_nonfinite(layout, run.records)
    true = _true_error(own[0], metric)
    if true is not None:
        _draw_level(layout, "true", true, "dot", "@ink")
        layout["annotations"].append(_note(f"true error {metric.write(true)}", "true", x=0.03, y=true))
    description = _describe(metric, own, level, true)
    return Figure(name=place, title=title, description=description, plot={"data": traces, "layout": layout})


def _curves(run: TrialRun, metric: figures.Metric, *, is_thin: bool) -> list[dict[str, Any]]:
    """Draw a run: training per step and per epoch, validation per epoch."""
    records, per_epoch = run.records, steps_per_epoch(run.records) or 0
    xs, ys = downsample(
        [row["step"] for row in records.steps], [finite(row[metric.key], metric.scale) for row in records.steps], MAX_POINTS
    )
    ends = [row["step"] for row in records.evaluations]
    seed = f", seed {run.seed}" if is_thin else ""
    width = 1.25 if is_thin else 2

    def curve(role: str, xs: Sequence[float], ys: Sequence[float | None], **style: Any) -> dict[str, Any]:
        line = {"color": f"@{role}", "width": 1 if role == "train-step" else width}
        hover = f"{figures.LEGEND[role]}{seed}<br>%{{y:{metric.digits}}}{metric.unit}, step %{{x:,}}<extra></extra>"
        found = {"type": "scatter", "mode": "lines", "name": role, "x": list(xs), "y": rounded(ys), "line": line}
        return found | {"hovertemplate": hover, **style}

    few = {"mode": "lines+markers", "marker": {"size": 4, "color": "@train-step"}} if len(xs) < 20 else {}
    marks = {"mode": "lines+markers", "marker": {"size": 3 if is_thin else 5, "symbol": "diamond", "color": "@validation"}}
    train, validation = (
        [finite(row[f"{part}_{metric.key}"], metric.scale) for row in records.evaluations] for part in ("train", "val")
    )
    return [
        curve("train-step", xs, ys, **few, **({"opacity": 0.55} if is_thin else {})),
        # The weights change during an epoch, so its mean belongs to its middle.
        curve("train", [end - per_epoch / 2 for end in ends], train),
        curve("validation", ends, validation, **marks),
    ]


def rounded(values: Iterable[float | None]) -> list[float | None]:
    """Keep four digits, which is more than a small picture shows."""
    return [None if value is None else float(f"{value:.4g}") for value in values]


def _layout(end: float) -> dict[str, Any]:
    layout: dict[str, Any] = blank_layout() | {"margin": {"l": 46, "r": 10, "t": 8, "b": 36}}
    across = {"range": [0, 1.02 * end], "showgrid": False, "showline": True, "nticks": 5}
    layout["xaxis"] = axis("Step") | across
    layout["xaxis"]["title"]["standoff"] = 4
    layout["yaxis"] = axis("") | {"nticks": 5}
    for which in ("xaxis", "yaxis"):
        layout[which]["tickfont"] = {"size": 11, "color": "@muted"}
    return layout


def _scale(name: str, metric: figures.Metric, runs: Sequence[TrialRun], level: float | None) -> dict[str, Any]:
    """Choose the axis of a metric for all runs of a trial."""
    if name != "loss":
        return {"type": "linear", "range": [0, 104]}
    keys = (metric.key, f"train_{metric.key}", f"val_{metric.key}")
    rows = [row for run in runs for row in (*run.records.steps, *run.records.evaluations)]
    values = [value for row in rows for key in keys if (value := finite(row.get(key))) is not None]
    values += [level] if level is not None else []
    positive = [value for value in values if value > 0]
    if not spans_decades(positive, 50):
        return {"type": "linear", "range": [0, 1.06 * max(values)]}
    return _log_axis(positive)


def _log_axis(values: Sequence[float]) -> dict[str, Any]:
    """Make a logarithmic axis that is labelled only with a few powers of ten."""
    low, high = math.log10(0.8 * min(values)), math.log10(1.3 * max(values))
    return {"type": "log", "range": [low, high], "dtick": max(1, round((high - low) / 4))}


def _shade_plateau(layout: dict[str, Any], run: TrialRun) -> None:
    """Shade the steps of the predicted stay at chance; if it never ends, hatch all steps."""
    steps, end = run.plateau_steps, layout["xaxis"]["range"][1]
    if steps is None:
        return
    place: dict[str, Any] = {"xref": "paper", "yref": "paper", "layer": "below", "name": "plateau"}
    if math.isinf(steps):
        # Drawn as separate lines, because a plotly shape has no fill pattern.
        strokes = "".join(f"M{x / 24:.3f},0L{(x + 3) / 24:.3f},1" for x in range(-2, 24))
        layout["shapes"].append({"type": "path", "path": strokes, "line": {"color": "@line", "width": 1}, **place})
        return
    rectangle = {"type": "rect", "x0": 0, "x1": min(steps, end) / end, "y0": 0, "y1": 1}
    layout["shapes"].append({**rectangle, "fillcolor": "@grid", "line": {"width": 0}, **place})


def _draw_level(layout: dict[str, Any], role: str, level: float, dash: str, colour: str) -> None:
    line = {"color": colour, "width": 1.5, "dash": dash}
    place = {"xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": level, "y1": level}
    layout["shapes"].append({"type": "line", "line": line, "name": role, **place})


def _note(text: str, role: str, *, x: float, y: float, **place: Any) -> dict[str, Any]:
    font = {"size": 11, "color": "@ink"}
    note = {"text": text, "name": role, "x": x, "y": y, "xref": "paper", "yref": "y", "xanchor": "left", "yanchor": "bottom"}
    return note | {"showarrow": False, "font": font, "bgcolor": "@paper", "borderpad": 1, **place}


def _mark_nonfinite(layout: dict[str, Any], run: Run) -> None:
    step = first_nonfinite_step(run)
    if step is None:
        return
    line = {"color": "@bad", "width": 1.5, "dash": "dot"}
    shape = {"type": "line", "xref": "x", "x0": step, "x1": step, "yref": "paper", "y0": 0, "y1": 1, "line": line}
    layout["shapes"].append({**shape, "name": "nonfinite"})
    note = _note(f"not finite, step {step:,}", "nonfinite", x=step, y=0.98, xref="x", yref="paper", yanchor="top", xshift=4)
    layout["annotations"].append({**note, "font": {"size": 11, "color": "@bad"}})


def _true_error(run: TrialRun, metric: figures.Metric) -> float | None:
    """Return the error of all predictions of the trained net, if the run's own metric shows a different one."""
    answers = run.seen.answers
    if answers is None or metric.key == "loss" or "metric-of-last-batch" not in run.records.train_config.run.faults:
        return None
    return finite(getattr(answers.errors, metric.key), metric.scale)


def _describe(metric: figures.Metric, runs: Sequence[TrialRun], level: float | None, true: float | None) -> str:
    """Describe the picture in words."""
    parts = [f"{metric.title} of the {VARIANT_WORDS[runs[0].variant]} run over {runs[0].planned_steps:,} steps."]
    for run in runs:
        which = f"Seed {run.seed}, " if len(runs) > 1 else ""
        rows = run.records.evaluations
        ends = [finite(row[f"val_{metric.key}"], metric.scale) for row in (rows[0], rows[-1])] if rows else []
        first, last = (["none" if end is None else metric.write(end) for end in ends]) or ("none", "none")
        parts.append(f"{which}validation: {first} at first, {last} at last.")
        if (step := first_nonfinite_step(run.records)) is not None:
            parts.append(f"Not finite at step {step:,}.")
    if level is not None:
        parts.append(f"Chance level: {metric.write(level)}.")
    if true is not None:
        parts.append(f"True error of the trained net: {metric.write(true)}.")
    return " ".join(parts)


def watched_layers(names: Sequence[str]) -> dict[str, str]:
    """Find the layers that the log watched among a net's weight layers, by the log's names for them.

    As we read it, the log's extractor counts a convolution and its ReLU as two places, and a pooling as another one: 16 and
    18 are the ninth and the tenth convolution. A has only eight.
    """
    convolutions = [name for name in names if name.startswith("features.")]
    found = dict(zip(("extractor16", "extractor18"), convolutions[8:10], strict=False))
    return found | ({"output3": "classifier.3"} if "classifier.3" in names else {})


def _gradients(trial: str, runs: Sequence[TrialRun]) -> list[Figure]:
    """Draw the range of each watched layer's gradient over the run, of the first seed of each variant, on one axis."""
    first = {run.variant: run for run in reversed(runs)}
    names = [row["name"] for row in runs[0].records.init]
    short = dict(zip(names, layer_names(runs[0].records.train_config.model.config), strict=False))
    watched = watched_layers(names)
    sizes = {
        (name, variant): [(row["step"], *_ends(row)) for row in run.records.layers if row["name"] == layer]
        for name, layer in watched.items()
        for variant, run in first.items()
    }
    present = [end for rows in sizes.values() for _, *ends in rows for end in ends if end]
    if not present:
        return []
    layout = _layout(max(run.planned_steps for run in runs))
    layout["yaxis"] |= _log_axis(present)
    return [
        _gradient_cell(
            f"{trial}-{name}",
            f"{name}, our {short[layer]} ({layer})",
            {variant: sizes[name, variant] for variant in VARIANTS if variant in first},
            copy.deepcopy(layout),
        )
        for name, layer in watched.items()
    ]


def _ends(row: dict[str, Any]) -> tuple[float | None, float | None]:
    """Return the magnitudes of a gradient's smallest and largest element, the smaller first; `None` if not finite."""
    ends = [abs(end) for key in ("gradient_min", "gradient_max") if (end := finite(row.get(key))) is not None]
    return (min(ends), max(ends)) if len(ends) == 2 else (None, None)


def _gradient_cell(place: str, title: str, sizes: dict[Variant, list[tuple[Any, ...]]], layout: dict[str, Any]) -> Figure:
    """Draw both ends of a layer's gradient over the steps, for each run. Zeros, which a log axis cannot show, are noted."""
    traces, said = [], []
    for number, (variant, rows) in enumerate(sizes.items()):
        colour, words, steps = COLOURS[variant], VARIANT_WORDS[variant], [step for step, *_ in rows]
        common = {"type": "scatter", "x": steps, "name": variant}
        low, high = (rounded(row[end] or None for row in rows) for end in (1, 2))
        hover = f"{words}<br>largest gradient %{{y:.2g}}, step %{{x:,}}<extra></extra>"
        traces += [
            {**common, "y": low, "mode": "lines", "line": {"width": 1, "color": colour, "dash": "dot"}, "hoverinfo": "skip"},
            {**common, "y": high, "mode": "lines+markers", "line": {"width": 1.5, "color": colour}, "marker": {"size": 4}}
            | {"hovertemplate": hover},
        ]
        present = [value for value in high if value]
        said.append(
            f"{words}: {present[0]:.1e} at first, {present[-1]:.1e} at last" if present else f"{words}: never finite, or 0"
        )
        zero = next((step for step, _, end in rows if end == 0), None)
        if zero is not None:
            text = f"{words}: 0 from step {zero:,}"
            note = _note(text, variant, x=1, y=1 - 0.14 * number, yref="paper", xanchor="right", yanchor="top")
            layout["annotations"].append({**note, "font": {"size": 11, "color": colour}})
            said[-1] += f", 0 from step {zero:,}"
    description = f"Largest gradient of {title}. {'; '.join(said)}."
    return Figure(name=place, title=title, description=description, plot={"data": traces, "layout": layout})


def probe_figure(result: Result) -> Figure:
    """Draw the largest gradient of every layer for each probed start, against the numbers that the log reports."""
    traces, said, names = [], [], layer_names("D")
    layout: dict[str, Any] = blank_layout() | {"margin": {"l": 60, "r": 118, "t": 12, "b": 62}}
    layout["xaxis"] = axis("Layer, in forward order") | {
        "showgrid": False,
        "showline": True,
        "tickvals": list(range(len(names))),
    }
    layout["xaxis"] |= {
        "ticktext": names,
        "tickangle": -45,
        "zeroline": False,
        "range": [-0.4, len(names) - 0.6],
        "type": "linear",
    }
    layout["yaxis"] = axis("Largest gradient") | {"type": "log"}
    for (label, diagnosis), colour in zip(result.probes.items(), PLAN_COLOURS, strict=False):
        sizes = rounded(largest_gradient(layer) or None for layer in diagnosis["evidence"]["probe"]["layers"])
        hover = f"{label}<br>%{{text}}: %{{y:.2g}}<extra></extra>"
        style = {"mode": "lines+markers", "line": {"color": colour, "width": 2}, "marker": {"size": 6}, "hovertemplate": hover}
        trace = {"type": "scatter", "name": label, "x": list(range(len(sizes))), "y": sizes, "text": names, **style}
        traces.append(trace)
        said.append(
            f"{label}: {sizes[0]:.1e} in the first layer, {sizes[-1]:.1e} in the last" if sizes[0] and sizes[-1] else label
        )
    present = [size for trace in traces for size in trace["y"] if size]
    ends = [*present, *REPORTED]
    layout["yaxis"]["range"] = [math.log10(min(ends) / 2), math.log10(max(ends) * 3)]
    for number in REPORTED:
        _draw_level(layout, "reported", number, "dot", "@chance")
        note = _note(f"the log: {number:.0e}".replace("e-0", "e-"), "reported", x=1, y=number, yanchor="middle", xshift=6)
        layout["annotations"].append({**note, "font": {"size": 11, "color": "@muted"}})
    return Figure(
        name=f"{result.trial.id}-probe",
        title="Largest gradient of each layer at the start",
        note="One forward and one backward pass of net D at the log's own size. Dotted: the sizes that the log reports.",
        description=f"Largest gradient by layer. {'; '.join(said)}. The log reports 1e-7, 1e-5 and 2e-1.",
        plot={"data": traces, "layout": layout},
    )
