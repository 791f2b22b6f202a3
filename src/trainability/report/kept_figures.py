"""The figures of the report as plotly objects, for a run or a comparison, without the controls of the page."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from trainability.report import figures as curves
from trainability.report import layer_figures, overlay, signal_figures
from trainability.report.compare import Comparison
from trainability.report.error_section import error_section
from trainability.report.experiments_section import experiments_section
from trainability.report.look import LEGEND, NUM_RUN_COLOURS, PALETTES, Figure
from trainability.training.record import Run, read_run


def figures(of: Run | Comparison | Path | str, *, dark: bool = False) -> dict[str, go.Figure]:
    """Draw a run, or a comparison, as the report does.

    The time axis is in steps. There are no choices of scale, smoothing or step as on the page: an axis has the page's initial
    scale, and histograms, which only the page can draw, are left out.

    Args:
        of: a run or its directory, or what `compare` returns.
        dark: use the page's colours for a dark background.

    Returns:
        Figures by name ("loss", "norm", "layers-update-ratio", "confusion" and so on); those without data are left out.

    Raises:
        ValueError: it is not a run directory, or a file in it is damaged.
    """
    if isinstance(of, Comparison):
        runs = [
            (f"run-{number % NUM_RUN_COLOURS + 1}", name, run)
            for number, (name, run) in enumerate(zip(of.names, of.runs, strict=True))
        ]
        drawn, names = overlay.all_figures(runs), {f"of-{number}": name for number, name in enumerate(of.names)}
    else:
        drawn, names = _of_run(of if isinstance(of, Run) else read_run(of)), {}
    palette = PALETTES["dark" if dark else "light"]
    return {figure.name: _kept(figure, palette, names) for figure in drawn if figure.plot is not None and figure.plot["data"]}


def _of_run(run: Run) -> list[Figure]:
    errors, experiments = error_section(run)[0], experiments_section(run)
    return [
        *curves.all_figures(run),
        *layer_figures.layer_figures(run),
        *signal_figures.signal_figures(run),
        *([] if errors is None else [errors.confusion]),
        *([] if experiments is None else [experiments.figure]),
    ]


def _kept(figure: Figure, palette: dict[str, str], names: dict[str, str]) -> go.Figure:
    """Prepare a figure as the page does before drawing: colours, positions in hover texts, levels on a log axis, names."""
    plot = json.loads(json.dumps(figure.plot), object_hook=lambda found: _coloured(found, palette))
    layout: dict[str, Any] = plot["layout"] | {"template": "none", "paper_bgcolor": palette["paper"]}
    layout.pop("meta", None)
    layout["title"] = {"text": figure.title, "x": 0.02, "font": {"size": 15}}
    layout["margin"] = layout["margin"] | {"t": layout["margin"]["t"] + 36}
    layout["height"] = max(360, 17 * figure.num_rows + 150)
    if figure.num_cells:
        layout |= {"height": 22 * figure.num_cells + 180, "width": 22 * figure.num_cells + 180}
    for note in layout["annotations"]:
        if note.get("yref") == "y" and layout["yaxis"].get("type") == "log":
            note["y"] = math.log10(note["y"])
    for trace in plot["data"]:
        run = str((trace.pop("meta", None) or {}).get("run"))
        kind = LEGEND.get(trace["name"])
        trace["name"] = ": ".join(part for part in (names.get(run), kind) if part) or trace["name"]
        if "hovertemplate" in trace:
            trace["hovertemplate"] = trace["hovertemplate"].replace("{position}", "step %{x:,}")
    layout["showlegend"] = not figure.num_rows and not figure.num_cells and len(plot["data"]) > 1  # the page has its own legend
    layout.setdefault("legend", {"orientation": "h", "y": -0.2})
    return go.Figure(data=plot["data"], layout=layout)


def _coloured(found: dict[str, Any], palette: dict[str, str]) -> dict[str, Any]:
    """Replace each role, "@train", by its colour."""

    def colour(value: Any) -> Any:
        if isinstance(value, list):
            return [colour(item) for item in value]
        return palette[value[1:]] if isinstance(value, str) and value[1:] in palette and value[0] == "@" else value

    return {key: colour(value) for key, value in found.items()}
