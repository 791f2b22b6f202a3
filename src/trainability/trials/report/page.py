"""Every trial's result -> the book's page, `book.html`: the log's story in its order, with its pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainability.doctor.theory.band import BUDGET_HIGH, BUDGET_LOW
from trainability.report import page
from trainability.report.look import LEGEND, MARKS, Figure, axis, blank_layout
from trainability.training.record import read_run
from trainability.trials.book import FURTHER, LOG, select
from trainability.trials.report.markdown import counted, markdown, scale_note
from trainability.trials.report.section import Section, run_command, section_of
from trainability.trials.report.start import BAND, SCALE_END
from trainability.trials.report.table import HOLDS_WORDS, signed
from trainability.trials.run import Result, result_of
from trainability.trials.scales import DESK_SETS, Scale
from trainability.trials.trial import Answer, Trial

PAGE = "book.html"
BESIDE: tuple[Scale, ...] = ("desk", "full")
"""Scales whose results are shown next to those of pocket scale."""

LEGEND_ENTRIES = {**LEGEND, "true": "True error", "plateau": MARKS["plateau"]}


@dataclass(frozen=True, kw_only=True)
class PageChapter:
    """Trials that belong together."""

    name: str
    title: str
    sections: tuple[Section, ...]


@dataclass(frozen=True, kw_only=True)
class WrittenBook:
    """The page that was written, its number of trials, and what could not be read."""

    paths: tuple[Path, ...]
    num_made: int
    num_trials: int
    counted: str
    problems: tuple[str, ...]


def write_book(
    names: tuple[str, ...], *, scale: Scale, root: Path, standard: Path, out: Path | None, markdown_path: Path | None
) -> WrittenBook:
    """Write the page of trials from the runs that exist.

    Args:
        names: trials, chapters, or all.
        scale: of the runs.
        root: folder of the book's runs.
        standard: default of `root` on the command line.
        out: the page; `None` puts it next to the runs.
        markdown_path: also write the book as a page of documentation to this file.

    Raises:
        ValueError: a name is unknown, there are no runs at all, or a page cannot be written.
    """
    chosen = select(names)
    command = run_command(names, scale, root, standard)
    damaged: dict[str, list[str]] = {trial.id: [] for trial in chosen}
    results = [result_of(trial, scale, root, damaged[trial.id]) for trial in chosen]
    beside = {
        at: [result_of(trial, at, root, damaged[trial.id]) for trial in chosen if trial.data in DESK_SETS and not trial.plans]
        for at in BESIDE
        if scale == "pocket"
    }
    desk = {result.trial.id: result for result in beside.get("desk", ()) if result.runs}
    problems = [line for lines in damaged.values() for line in lines]
    if not any(result.runs for result in results):
        broken = f" ({problems[0]})" if problems else ""
        raise ValueError(f"{root / scale} has no run of {' '.join(names)}{broken}; this makes them: {command}")
    out = out or root / scale / PAGE
    machine = machine_of(results)
    paths = [
        page.write(
            out, _render(results, desk, damaged, command=command, machine=machine, root=root, standard=standard, out=out)
        )
    ]
    if markdown_path is not None:
        text = markdown(
            results,
            list(desk.values()),
            beside.get("full", ()),
            command=run_command(names, scale, standard, standard),
            machine=machine,
        )
        paths.append(page.write(markdown_path, text))
    return WrittenBook(
        paths=tuple(paths),
        num_made=sum(bool(result.runs) for result in results),
        num_trials=len(results),
        counted=counted(results),
        problems=tuple(problems),
    )


def machine_of(results: Sequence[Result]) -> str:
    """Describe the machine of the runs; each run uses as many cores as it has threads."""
    found: dict[str, None] = {}
    for result in results:
        for folder in result.folders.values():
            facts = read_run(folder).environment
            if facts:
                count, is_cpu = facts["num_threads"], facts["device_type"] == "cpu"
                cores = f", {count} core{'s' if count != 1 else ''} per run" if is_cpu else ""
                found[f"{facts['device']}{cores}"] = None
    return "; ".join(found) or "machine not recorded"


def _render(
    results: Sequence[Result],
    desk: dict[str, Result],
    damaged: dict[str, list[str]],
    *,
    command: str,
    machine: str,
    **where: Path,
) -> str:
    chapters: dict[str, list[Section]] = {}
    before: dict[str, list[Trial]] = {}
    for result in results:
        trial = result.trial
        earlier = before.setdefault(trial.chapter, [])
        section = section_of(result, damaged[trial.id], earlier, desk.get(trial.id), **where)
        chapters.setdefault(trial.chapter, []).append(section)
        earlier.append(trial)
    sections = [section for group in chapters.values() for section in group]
    made = [section for section in sections if section.is_made]
    return page.render(
        "book.html.jinja",
        chapters=[
            PageChapter(name=name, title=group[0].trial.section, sections=tuple(group)) for name, group in chapters.items()
        ],
        scale=results[0].scale,
        scale_note=scale_note(results[0].scale),
        machine=machine,
        command=command,
        log=LOG,
        further=FURTHER,
        num_trials=len(sections),
        num_made=len(made),
        counts=_counts(made),
        problems=[line for lines in damaged.values() for line in lines],
        overview=overview_figure(results),
        legend_entries=LEGEND_ENTRIES,
        band=BAND,
        limits=(BUDGET_LOW, BUDGET_HIGH),
    )


def _counts(made: Sequence[Section]) -> list[tuple[Answer, str, int]]:
    """Count the verdicts on the log's explanations: answer, its words, how many."""
    answers: tuple[Answer, ...] = ("yes", "no", "open")
    return [(answer, HOLDS_WORDS[answer], sum(section.row.holds == answer for section in made)) for answer in answers]


def overview_figure(results: Sequence[Result]) -> Figure:
    """Draw every run without the bugs: its gain budget against its final loss as a fraction of the loss at chance level."""
    points: dict[str, list[tuple[float, float, str]]] = {"learned": [], "stayed": [], "diverged": []}
    for result in results:
        for (variant, seed), numbers in result.runs.items() if not result.probes else ():
            budget, left = numbers["budget"], numbers["left_chance_step"]
            if variant != "repaired" or budget is None:
                continue
            kind = "diverged" if numbers["nan_step"] is not None else "learned" if left is not None else "stayed"
            name = f"{result.trial.id}, seed {seed}" if len(result.trial.seeds) > 1 else result.trial.id
            place = min(SCALE_END, max(-SCALE_END, budget))
            points[kind].append((place, numbers["last_over_chance"] or 1.0, f"{name}, budget {signed(budget)}"))
    if not any(points.values()):
        return Figure(name="overview", title="Every run by its gain budget", missing="No run without the bugs was made yet.")
    styles = {
        "learned": {"symbol": "circle", "color": "@good", "size": 10},
        "stayed": {"symbol": "circle-open", "color": "@bad", "size": 10, "line": {"width": 2, "color": "@bad"}},
        "diverged": {"symbol": "x", "color": "@bad", "size": 9},
    }
    words = {"learned": "left chance", "stayed": "never left chance", "diverged": "not finite"}
    traces = [
        {"type": "scatter", "mode": "markers", "name": kind, "x": [round(x, 2) for x, _, _ in found]}
        | {"y": [float(f"{y:.4g}") for _, y, _ in found], "text": [name for *_, name in found], "marker": styles[kind]}
        | {"hovertemplate": f"%{{text}}: {words[kind]}<br>loss over ln C %{{y:.3~g}}<extra></extra>"}
        for kind, found in points.items()
        if found
    ]
    highest = max(y for found in points.values() for _, y, _ in found)
    lowest = min(y for found in points.values() for _, y, _ in found)
    layout: dict[str, Any] = blank_layout() | {"margin": {"l": 60, "r": 12, "t": 26, "b": 48}}
    layout["xaxis"] = axis("Gain budget, input included") | {
        "range": [-SCALE_END - 0.6, SCALE_END + 0.6],
        "zeroline": False,
        "showline": True,
        "dtick": 4,
    }
    layout["yaxis"] = axis("Last training loss / ln C") | {
        "type": "log",
        "range": [math.log10(max(1e-4, lowest) / 1.6), math.log10(max(1.0, highest) * 1.8)],
    }
    layout["shapes"] += _overview_shapes()
    for text, x in (
        ("dead", (-12 + BUDGET_LOW) / 2),
        ("trainable", (BUDGET_LOW + BUDGET_HIGH) / 2),
        ("exploding", (12 + BUDGET_HIGH) / 2),
    ):
        note = {
            "text": text,
            "x": x,
            "xref": "x",
            "y": 1,
            "yref": "paper",
            "yanchor": "bottom",
            "showarrow": False,
            "name": "band",
        }
        layout["annotations"].append(note | {"font": {"size": 12, "color": "@muted"}})
    said = "; ".join(f"{words[kind]}: {', '.join(name for *_, name in found)}" for kind, found in points.items() if found)
    return Figure(
        name="overview",
        title="One number before the first step",
        note="Each run without the bugs: filled, it left chance level; open, it did not; a cross, it became NaN or infinite. "
        "The shaded band is where nets train.",
        description=f"Gain budget against the last training loss over ln C. {said}.",
        plot={"data": traces, "layout": layout},
    )


def _overview_shapes() -> list[dict[str, Any]]:
    band = {
        "type": "rect",
        "xref": "x",
        "x0": BUDGET_LOW,
        "x1": BUDGET_HIGH,
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "layer": "below",
    }
    chance = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": 1, "y1": 1, "name": "chance"}
    return [
        {**band, "fillcolor": "@grid", "line": {"width": 0}, "name": "band"},
        {**chance, "line": {"color": "@chance", "width": 1.5, "dash": "dash"}},
    ]
