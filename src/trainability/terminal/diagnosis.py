"""Print a diagnosis: verdict, findings with their numbers and remedies, layers, what was not checked."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from trainability.doctor.diagnosis import Diagnosis
from trainability.doctor.finding import Finding
from trainability.doctor.layer_table import BAR_HEADING, BAR_WIDTH, Cell, Column, LayerTable, bar, decade
from trainability.doctor.view import DiagnosisView, FindingView, diagnosis_view, finding_view
from trainability.terminal.experiments import print_experiments
from trainability.terminal.styles import SEVERITY_STYLES, TONE_STYLES

_GAP = 1  # characters between two columns
_ROW_STYLES = {"change": "bold", "tested": "bold", "source": "dim", "more": "dim"}


def print_diagnosis(console: Console, diagnosis: Diagnosis) -> None:
    """Print a diagnosis: verdict, findings, layers, and what was not checked."""
    shown = diagnosis_view(diagnosis)
    console.print(_verdict(shown))
    for finding in shown.findings:
        console.print(finding_block(finding))
    if diagnosis.evidence.experiments is not None:
        print_experiments(console, diagnosis.evidence.experiments)
    for table in shown.tables:
        console.print(layer_grid(table, console.width))
        console.print()
    if shown.not_checked:
        console.print(Text("Not checked", style="bold"))
        for line in shown.not_checked:
            console.print(Padding(Text(f"· {line}", style="dim"), (0, 0, 0, 2)))


def _verdict(shown: DiagnosisView) -> RenderableType:
    colour = TONE_STYLES[shown.tone]
    lines = [Text(shown.title.upper(), style=f"bold {colour}"), Text(shown.reason)]
    lines += [Text(shown.plateau)] if shown.plateau else []
    return Panel(Group(*lines), border_style=colour, padding=(0, 1))


def finding_block(finding: Finding | FindingView) -> RenderableType:
    """Draw a finding: severity, rule and cause, then a row for each of its parts."""
    shown = finding_view(finding) if isinstance(finding, Finding) else finding
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, style="dim", min_width=8)
    table.add_column(overflow="fold")
    for name, text in shown.rows:
        table.add_row(name, Text(text, style=_ROW_STYLES.get(name, "")))
    head = Text(shown.heading, style="bold")
    head.stylize(SEVERITY_STYLES.get(shown.severity, ""), 0, len(shown.severity))
    return Group(head, Padding(table, (0, 0, 1, 2)))


def layer_grid(table: LayerTable, width: int) -> Table:
    """Draw a table of layers: the columns of `doctor.layer_table` that fit, and a bar of each output's size."""
    shown = table.within(width, gap=_GAP, extra=BAR_WIDTH + _GAP)
    grid = Table(title=table.title, title_justify="left", title_style="bold", padding=(0, _GAP, 0, 0), pad_edge=False, box=None)
    for column in shown.columns:
        name = "\n".join(column.name.rsplit(" ", 1))
        justify = "left" if column.is_text else "right"
        grid.add_column(Text(name), justify=justify, no_wrap=not column.is_text, overflow="fold", vertical="bottom")
        if column.key == "activation_rms":
            grid.add_column(BAR_HEADING, no_wrap=True)
    for row in shown.rows:
        cells = []
        for column, cell in zip(shown.columns, row, strict=True):
            cells.append(Text(cell.text, style=_style(cell, column)))
            if column.key == "activation_rms":
                cells.append(_coloured_bar(cell.value))
        grid.add_row(*cells)
    return grid


def _style(cell: Cell, column: Column) -> str:
    if cell.is_nonfinite:
        return "red"
    if column.key != "gain" or cell.value is None or 0.5 <= cell.value <= 2:
        return ""
    return "yellow" if 0.2 <= cell.value <= 5 else "red"


def _coloured_bar(value: float | None) -> Text:
    if not (drawn := bar(value)) or value is None:
        return Text("")
    distance = abs(decade(value))
    return Text(drawn, style="green" if distance <= 1 else ("yellow" if distance <= 3 else "red"))
