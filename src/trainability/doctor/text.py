"""A diagnosis as plain text: verdict, causes, layers, what was not checked."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from trainability.doctor.experiment_table import COLUMNS, ExperimentTable, experiment_table
from trainability.doctor.finding import Finding
from trainability.doctor.layer_table import BAR_HEADING, BAR_WIDTH, LayerTable, bar
from trainability.doctor.view import FindingView, diagnosis_view, finding_view

if TYPE_CHECKING:
    from trainability.doctor.diagnosis import Diagnosis

WIDTH = 110
_GAP = 2  # characters between two columns


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=" " * len(indent))


def render_finding(finding: Finding | FindingView) -> str:
    """Write one finding: severity, rule and cause, then a line for each of its parts."""
    shown = finding_view(finding) if isinstance(finding, Finding) else finding
    return "\n".join([_wrapped(shown.heading, ""), *(_wrapped(text, f"  {name:<8} ") for name, text in shown.rows)])


def render_layers(table: LayerTable) -> str:
    """Write a table of layers: the columns of `doctor.layer_table`, and a bar of each output's size."""
    if not table.rows:
        return ""
    shown = table.within(WIDTH - 2, gap=_GAP, extra=BAR_WIDTH + _GAP)
    columns: list[tuple[list[str], bool]] = []
    for place, column in enumerate(shown.columns):
        columns.append(([*_heading(column.name), *(row[place].text for row in shown.rows)], column.is_text))
        if column.key == "activation_rms":
            columns.append((["", BAR_HEADING, *(bar(row[place].value) for row in shown.rows)], True))
    widths = [max(map(len, cells)) for cells, _ in columns]
    lines = []
    for row in zip(*(cells for cells, _ in columns), strict=True):
        placed = [
            f"{cell:<{width}}" if is_text else f"{cell:>{width}}"
            for cell, width, (_, is_text) in zip(row, widths, columns, strict=True)
        ]
        lines.append("  " + (" " * _GAP).join(placed).rstrip())
    return "\n".join(line.rstrip() for line in lines)


def render_experiments(table: ExperimentTable) -> str:
    """Write what was tried: a row for each change, and below what was not tried."""
    rows = [COLUMNS, *(cells for cells, _ in table.rows)]
    others = [max(len(row[place]) for row in rows) for place in range(1, len(COLUMNS))]
    first = min(max(len(row[0]) for row in rows), WIDTH - sum(others) - _GAP * len(COLUMNS))
    lines = []
    for row in rows:
        head, *more = textwrap.wrap(row[0], first, subsequent_indent="  ")
        cells = [f"{head:<{first}}", *(f"{cell:<{size}}" for cell, size in zip(row[1:], others, strict=True))]
        lines += ["  " + (" " * _GAP).join(cells).rstrip(), *(f"  {line}" for line in more)]
    left_out = [_wrapped(line, "  - ") for line in (*(f"not tried: {line}" for line in table.left_out), *table.notes)]
    if table.not_applied:
        left_out.append(f"  - {table.not_applied}")
    return "\n".join([_wrapped(table.title, ""), *(lines if table.rows else []), *left_out])


def _heading(name: str) -> tuple[str, str]:
    """Break a column's name over two lines."""
    first, _, second = name.rpartition(" ")
    return first, second


def render_text(diagnosis: Diagnosis) -> str:
    """Write the whole diagnosis, verdict first.

    Returns:
        Plain text of at most `WIDTH` characters per line, except for longer layer names.
    """
    shown = diagnosis_view(diagnosis)
    parts = [_wrapped(shown.reason, f"{shown.title.upper()}: ")]
    if shown.plateau is not None:
        parts.append(_wrapped(shown.plateau, ""))
    parts += [render_finding(finding) for finding in shown.findings]
    if diagnosis.evidence.experiments is not None:
        parts.append(render_experiments(experiment_table(diagnosis.evidence.experiments)))
    parts += [f"{table.title}\n{render_layers(table)}" for table in shown.tables]
    if shown.not_checked:
        parts.append("Not checked\n" + "\n".join(_wrapped(line, "  - ") for line in shown.not_checked))
    return "\n\n".join(parts)
