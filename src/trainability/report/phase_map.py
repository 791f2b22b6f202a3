"""The phase diagram as a page: outcomes of runs, predictions of the theory, and the position of the program."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainability.formats import number, signed
from trainability.prescribe.phase_map import OUTCOMES, Cell, Outcome, PhaseMap
from trainability.prescribe.short_run import ShortRun
from trainability.report import page
from trainability.report.look import Figure, axis, blank_layout

# Colour and symbol (plotly's, and a character): each alone distinguishes the outcomes.
LOOKS: dict[Outcome, tuple[str, str, str]] = {
    "trained": ("good", "circle", "●"),
    "slow": ("validation", "triangle-up", "▲"),
    "dead": ("chance", "square-open", "□"),
    "exploded": ("bad", "x", "✖"),
}
BORDERS = {"band": "Band of budgets", "slowest": "Leaves chance within the run", "critical": "Critical rate"}
_FINE = 8  # points of a line between two budgets


def write_map(
    path: Path, phase_map: PhaseMap, runs: Mapping[Cell, ShortRun], ends: Mapping[Cell, Outcome], *, title: str
) -> Path:
    """Write the page, one file that works offline.

    Args:
        path: of the page.
        phase_map: borders and grid.
        runs: the runs that were made.
        ends: their outcomes.
        title: name of the program on the map.
    """
    counts = [(outcome, OUTCOMES[outcome], sum(end == outcome for end in ends.values())) for outcome in OUTCOMES]
    figure = map_figure(phase_map, runs, ends)
    return page.write(
        path,
        page.render(
            "map.html.jinja",
            title=title,
            figure=figure,
            looks={outcome: {"role": role, "mark": mark} for outcome, (role, _, mark) in LOOKS.items()},
            counts=counts,
            num_runs=len(ends),
            steps=phase_map.steps,
            predicted=phase_map.predicted(phase_map.budget, phase_map.lr),
            budget=signed(phase_map.budget),
            lr=number(phase_map.lr),
            notes=phase_map.notes,
        ),
    )


def map_figure(phase_map: PhaseMap, runs: Mapping[Cell, ShortRun], ends: Mapping[Cell, Outcome]) -> Figure:
    """Draw the plane: predictions as a tint, borders as lines, runs as marks, the program as a ring."""
    half = math.sqrt(phase_map.rates[1] / phase_map.rates[0])
    low, high = phase_map.rates[0] / half, phase_map.rates[-1] * half
    layout = blank_layout()
    layout["margin"] |= {"t": 30, "r": 20}
    layout["xaxis"] = axis("Gain budget, with the input (log10)") | {
        "range": [phase_map.budgets[0] - 0.5, phase_map.budgets[-1] + 0.5],
        "zeroline": False,
        "dtick": 2,
        "tick0": 0,
        "ticks": "outside",
        "tickcolor": "@line",
    }
    layout["yaxis"] = axis("Learning rate") | {"type": "log", "range": [math.log10(low), math.log10(high)], "showgrid": False}
    layout["xaxis"]["showgrid"] = False
    data = [_tint(phase_map), *_borders(phase_map, low, high)]
    layout["annotations"] = _words(phase_map, low, high)
    data += [_marks(outcome, runs, ends) for outcome in OUTCOMES if any(end == outcome for end in ends.values())]
    data.append(_here(phase_map))
    said = ", ".join(f"{sum(end == outcome for end in ends.values())} {outcome}" for outcome in OUTCOMES) if ends else "no runs"
    return Figure(
        name="map",
        title="Gain budget and learning rate",
        note="One factor on all weights moves the budget. Tint: predicted without a run (none: it cannot be told); lines:"
        " borders of what is predicted" + ("; a mark is a run." if ends else "."),
        description=f"Phase diagram. You are here: budget {signed(phase_map.budget)}, rate {phase_map.lr:g}. Runs: {said}.",
        plot={"data": data, "layout": layout},
    )


def _tint(phase_map: PhaseMap) -> dict[str, Any]:
    """Draw the predicted outcome of every cell in a faint colour."""
    order = list(OUTCOMES)
    number_of: dict[str, int] = {outcome: number for number, outcome in enumerate(order)}
    values = []
    for lr in phase_map.rates:
        row = (phase_map.predicted(budget, lr) for budget in phase_map.budgets)
        values.append([None if outcome is None else number_of[outcome] for outcome in row])
    edges = [share for number in range(len(order)) for share in (number / len(order), (number + 1) / len(order))]
    colours = [f"@{LOOKS[order[number // 2]][0]}" for number in range(2 * len(order))]
    return {
        "type": "heatmap",
        "name": "predicted",
        "x": list(phase_map.budgets),
        "y": list(phase_map.rates),
        "z": values,
        "zmin": -0.5,
        "zmax": len(order) - 0.5,
        "colorscale": [list(pair) for pair in zip(edges, colours, strict=True)],
        "showscale": False,
        "opacity": 0.16,
        "text": [[phase_map.told(budget, lr) or "" for budget in phase_map.budgets] for lr in phase_map.rates],
        "hovertemplate": "predicted: %{text}<br>budget %{x:.1f}, rate %{y:.2~g}<extra></extra>",
    }


def _borders(phase_map: PhaseMap, low: float, high: float) -> list[dict[str, Any]]:
    first, last = phase_map.budgets[0] - 0.5, phase_map.budgets[-1] + 0.5
    places = [first + number / _FINE for number in range(int((last - first) * _FINE) + 1)]
    found = [
        _line("slowest", places, [phase_map.slowest_lr(place) for place in places], "dash", low, high),
        _line("critical", places, [phase_map.critical_lr(place) for place in places], "solid", low, high),
    ]
    for edge in phase_map.band or ():
        found.append(_line("band", [edge, edge], [low, high], "dot", low, high))
    return found


def _line(role: str, xs: list[float], ys: list[float | None], dash: str, low: float, high: float) -> dict[str, Any]:
    """Draw a border, without its parts outside the plane."""
    kept = [y if y is not None and low <= y <= high else None for y in ys]
    hover = f"{BORDERS[role]}<br>budget %{{x:.1f}}, rate %{{y:.2~g}}<extra></extra>"
    line = {"color": "@ink", "width": 1.5, "dash": dash}
    return {"type": "scatter", "name": role, "mode": "lines", "x": xs, "y": kept, "line": line, "hovertemplate": hover}


def _marks(outcome: Outcome, runs: Mapping[Cell, ShortRun], ends: Mapping[Cell, Outcome]) -> dict[str, Any]:
    role, symbol, _ = LOOKS[outcome]
    own = [(cell, runs[cell]) for cell, end in ends.items() if end == outcome]
    left = [
        "never left chance" if run.left_chance_step is None else f"left chance at step {run.left_chance_step}" for _, run in own
    ]
    return {
        "type": "scatter",
        "name": outcome,
        "mode": "markers",
        "x": [cell.budget for cell, _ in own],
        "y": [cell.lr for cell, _ in own],
        "text": [f"{said}, {run.steps} steps" for said, (_, run) in zip(left, own, strict=True)],
        "marker": {"color": f"@{role}", "symbol": symbol, "size": 9},
        "hovertemplate": f"{outcome}<br>budget %{{x:.1f}}, rate %{{y:.2~g}}<br>%{{text}}<extra></extra>",
    }


def _here(phase_map: PhaseMap) -> dict[str, Any]:
    return {
        "type": "scatter",
        "name": "here",
        "mode": "markers",
        "x": [phase_map.budget],
        "y": [phase_map.lr],
        "marker": {"color": "@ink", "symbol": "circle-open", "size": 18, "line": {"width": 3, "color": "@ink"}},
        "hovertemplate": f"you are here<br>budget {signed(phase_map.budget)}, rate {phase_map.lr:g}<extra></extra>",
    }


def _words(phase_map: PhaseMap, low: float, high: float) -> list[dict[str, Any]]:
    """Place the names of the borders and "you are here" between two rows of marks, so that they cover no mark."""
    plain = {"xref": "x", "yref": "y", "showarrow": False, "font": {"size": 12, "color": "@ink"}}
    here = {"x": phase_map.budget, "y": phase_map.lr, "text": "<b>you are here</b>", "name": "here"}
    arrow = {"showarrow": True, "arrowhead": 0, "arrowwidth": 1, "arrowcolor": "@ink", "ax": 62, "ay": -15}
    found = [plain | here | arrow]
    between = [math.sqrt(below * above) for below, above in itertools.pairwise(phase_map.rates)]
    places = [phase_map.budgets[0] + number / _FINE for number in range((len(phase_map.budgets) - 1) * _FINE)]
    for role, line, text, anchor in (
        ("slowest", phase_map.slowest_lr, f"leaves chance in {phase_map.steps:,} steps", "right"),
        ("critical", phase_map.critical_lr, "critical rate", "left"),
    ):
        known = [(place, lr) for place in places if (lr := line(place)) is not None and low < lr < high]
        if role == "critical":  # left of 0 the line is level and may coincide with a row of marks
            known = [(place, lr) for place, lr in known if place > 0]
        if known:
            at = min(
                between[len(between) // 3 : len(between) // 2], key=lambda y: min(abs(math.log(lr / y)) for _, lr in known)
            )
            place, _ = min(known, key=lambda point: abs(math.log(point[1] / at)))
            shift = 8 if anchor == "left" else -8
            found.append(plain | {"x": place, "y": at, "text": text, "name": role, "xanchor": anchor, "xshift": shift})
    if phase_map.band is not None:
        for edge, text in zip(phase_map.band, ("band from", "to"), strict=True):
            found.append(
                plain
                | {"x": edge, "y": 1, "yref": "paper", "yanchor": "bottom", "name": "band", "text": f"{text} {signed(edge)}"}
                | {"font": {"size": 12, "color": "@muted"}}
            )
    return found
