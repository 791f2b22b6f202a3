"""Marks on the curves of a run: levels, the first NaN, the predicted plateau, and when findings appeared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainability.formats import finite
from trainability.report.look import axis, blank_layout
from trainability.report.series import first_nonfinite_step, positions, steps_per_epoch
from trainability.training.record import Run


def time_layout(run: Run) -> dict[str, Any]:
    """Make the layout of a figure over a run's steps, from 0 to a little after the last record."""
    per_epoch = steps_per_epoch(run)
    end = 1.02 * max(*positions(run.steps), *positions(run.evaluations), 0, 0)  # room for the last marker
    across = {"showgrid": False, "showline": True, "ticks": "outside", "tickcolor": "@line", "range": [0, end or 1]}
    layout = blank_layout() | {"xaxis": axis("Step") | across, "meta": {"per_epoch": per_epoch}}
    layout["margin"] |= {"t": 36, "r": 56}  # for the names of the marks; figures below each other share their axis
    return layout


def mark_level(layout: dict[str, Any], role: str, level: float, text: str, dash: str) -> None:
    """Draw a horizontal level with its name in the right margin, where no curve covers it."""
    colour = "@ink" if role == "reference" else "@chance"
    line = {"color": colour, "width": 1.5, "dash": dash}
    place = {"xref": "paper", "yref": "y", "name": role}
    layout["shapes"].append({"type": "line", "x0": 0, "x1": 1, "y0": level, "y1": level, "line": line, **place})
    layout["annotations"].append(
        {"x": 1, "y": level, "text": text, "xanchor": "left", "xshift": 5, "align": "left", "showarrow": False, **place}
        | {"font": {"size": 11, "color": "@muted"}}
    )


def mark_nonfinite(layout: dict[str, Any], run: Run) -> None:
    """Mark the step of the run's first NaN or infinity."""
    step = first_nonfinite_step(run)
    if step is not None:
        # Towards the middle of the figure, which has no room beside itself.
        xanchor = "left" if step < layout["xaxis"]["range"][1] / 2 else "right"
        _upright(layout, "nonfinite", step, f"NaN or Inf, step {step:,}", colour="@bad", xanchor=xanchor, yshift=14)


def plateau_steps(run: Run) -> float | None:
    """Read for how many steps the loss was predicted to stay at chance level; infinite for ever."""
    probe = (run.evidence or {}).get("probe") or {}
    predicted = probe.get("plateau_steps")
    return float("inf") if predicted == "inf" else finite(predicted)


def mark_plateau(layout: dict[str, Any], run: Run) -> None:
    """Shade the steps for which the loss was predicted to stay at chance."""
    predicted = plateau_steps(run)
    if predicted is None:
        return
    end = layout["xaxis"]["range"][1]
    words = "never leaves chance" if predicted == float("inf") else f"at chance for {predicted:,.0f} steps"
    place = {"xref": "x", "yref": "paper", "name": "plateau"}
    layout["shapes"].append(
        {"type": "rect", "x0": 0, "x1": min(predicted, end), "y0": 0, "y1": 1, "fillcolor": "@grid", "layer": "below", **place}
        | {"line": {"width": 0}}
    )
    layout["annotations"].append(
        {"x": 0, "y": 0, "text": f"predicted: {words}", "xanchor": "left", "yanchor": "bottom", "showarrow": False, **place}
        | {"font": {"size": 11, "color": "@muted"}, "bgcolor": "@paper", "opacity": 0.85}
    )


def finding_events(run: Run) -> list[dict[str, Any]]:
    """List a run's findings in order of appearance; their numbers on the page count from 1."""
    return sorted(run.finding_events, key=lambda row: row["step"])


def mark_findings(layout: dict[str, Any], run: Run) -> None:
    """Mark the steps at which findings appeared, by their numbers; findings close to each other share a mark."""
    apart = layout["xaxis"]["range"][1] / 30
    groups: list[list[tuple[int, dict[str, Any]]]] = []
    for number, row in enumerate(finding_events(run), start=1):
        if groups and row["step"] - groups[-1][0][1]["step"] < apart:
            groups[-1].append((number, row))
        else:
            groups.append([(number, row)])
    for group in groups:
        first, last = group[0][0], group[-1][0]
        text = str(first) if first == last else f"{first}–{last}"
        is_error = any(row.get("severity") == "error" for _, row in group)
        said = "<br>".join(f"{number} {row.get('severity')}: {row.get('rule')}, step {row['step']:,}" for number, row in group)
        colour = "@bad" if is_error else "@muted"
        _upright(layout, "finding", group[0][1]["step"], text, colour=colour, xanchor="center", hovertext=said)


def _upright(layout: dict[str, Any], role: str, step: float, text: str, *, colour: str, **label: Any) -> None:
    place = {"xref": "x", "yref": "paper", "name": role}
    line = {"color": colour, "width": 1.5 if role == "nonfinite" else 1, "dash": "dot"}
    layout["shapes"].append({"type": "line", "x0": step, "x1": step, "y0": 0, "y1": 1, "line": line, **place})
    layout["annotations"].append(
        {"x": step, "y": 1, "text": text, "yanchor": "bottom", "showarrow": False, "font": {"size": 11, "color": colour}}
        | place
        | label
    )


def in_words(run: Run, references: Sequence[str] = ()) -> str:
    """Describe the marks in words."""
    parts = [*references]
    if (step := first_nonfinite_step(run)) is not None:
        parts.append(f"The first NaN or infinity was at step {step:,}.")
    if run.finding_events:
        parts.append(f"{len(run.finding_events)} findings are marked at the step of their first appearance.")
    return " ".join(parts)
