"""The page's section on experiments: what was changed in copies of the program, and the curves of all copies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from trainability.doctor.experiment_table import COLUMNS, ExperimentTable, experiment_table
from trainability.doctor.experimented import OTHER_SEED, UNCHANGED, Arm, Experiments
from trainability.doctor.serial import from_plain
from trainability.report.look import NUM_RUN_COLOURS, Figure, axis, blank_layout
from trainability.report.marks import mark_level
from trainability.training.record import Run

_MOST_CURVES = NUM_RUN_COLOURS
_STROKES = {"trains": {"width": 3}, "no better": {"width": 1.5, "dash": "dot"}}
_LINES = {UNCHANGED: {"color": "@ink", "width": 2}, OTHER_SEED: {"color": "@chance", "width": 2}}


@dataclass(frozen=True, kw_only=True)
class ExperimentsSection:
    """What was tried.

    Attributes:
        table: rows of text.
        columns: their headings; the curves are in the figure.
        figure: curves of the unchanged program and of the best changes.
        strokes: the change as named in the table -> role of its curve's colour, and "solid", "wide" or "dot".
    """

    table: ExperimentTable
    columns: tuple[str, ...]
    figure: Figure
    strokes: dict[str, tuple[str, str]]


def experiments_section(run: Run) -> ExperimentsSection | None:
    """Lay out the experiments of a run's check; None if there are none, or an older version wrote them in another form."""
    plain = (run.evidence or {}).get("experiments")
    if plain is None:
        return None
    try:
        experiments = from_plain(Experiments, plain)
    except ValueError:
        return None
    figure = curves(experiments)
    lines = {trace["name"]: trace["line"] for trace in figure.plot["data"]} if figure.plot else {}
    return ExperimentsSection(
        table=experiment_table(experiments),
        columns=COLUMNS[:-1],
        figure=figure,
        strokes={
            name: (line["color"].removeprefix("@"), line.get("dash") or ("wide" if line["width"] > 2 else "solid"))
            for name, line in lines.items()
        },
    )


def curves(experiments: Experiments) -> Figure:
    """Draw the loss on the fixed batch over the steps, for the unchanged program and for the best changes."""
    title = "Loss on a fixed batch, with one change each"
    shown = [arm for arm in experiments.arms if arm.curve and arm.outcome != "control"]
    references = [arm for arm in shown if arm.name in (UNCHANGED, OTHER_SEED)]
    changes = [arm for arm in shown if arm not in references][: _MOST_CURVES - len(references)]
    if not shown:
        return Figure(name="experiments-curves", title=title, missing="No change was stepped.")
    layout = blank_layout() | {"xaxis": axis("Step"), "yaxis": axis("Loss")}
    layout["margin"]["r"] = 56
    if experiments.chance is not None:
        mark_level(layout, "chance", experiments.chance, f"chance<br>{experiments.chance:.3g}", "dash")
    traces = [_trace(arm, place) for place, arm in enumerate([*references, *changes], start=1)]
    words = "; ".join(f"{arm.change}: {arm.first_loss:.3g} to {arm.loss:.3g}" for arm in [*references, *changes])
    return Figure(
        name="experiments-curves",
        title=title,
        note="Every copy gets the same batches; the table names the curves. Thick: confirmed; dotted: not, and not faster.",
        description=words,
        plot={"data": traces, "layout": layout},
        has_scales=True,
    )


def _trace(arm: Arm, place: int) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": arm.change,
        "x": [step for step, _ in arm.curve],
        "y": [loss if math.isfinite(loss) else None for _, loss in arm.curve],
        "line": _LINES.get(arm.name) or {"color": f"@run-{place}"} | _STROKES.get(arm.outcome, {"width": 2}),
        "hovertemplate": f"{arm.change}<br>step %{{x}}: loss %{{y:.4g}}<extra></extra>",
    }
