"""What a diagnosis looks like in a terminal: verdict, causes with their numbers and what to change, layers, what was not."""

from __future__ import annotations

import math

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from trainability.doctor.diagnosis import Diagnosis
from trainability.doctor.evidence import LayerStats
from trainability.doctor.finding import Finding
from trainability.doctor.text import measured, named_layers, number, plateau_text, title_at_start

_COLOURS = {"error": "red", "warning": "yellow", "hint": "cyan"}
_VERDICTS = {"will train": "green", "is training": "green", "slow start": "yellow", "cannot tell": "yellow"}
_BAR_WIDTH = 13  # a decade of rms each, from 1e-6 to 1e+6


def print_diagnosis(console: Console, diagnosis: Diagnosis) -> None:
    """Print a diagnosis: verdict first, then cause, change, layers, and what was not checked."""
    console.print(_verdict(diagnosis))
    for finding in diagnosis.findings:
        console.print(finding_view(finding))
    probe = diagnosis.evidence.probe
    samples = [sample for sample in diagnosis.evidence.samples if sample.layers]
    if samples:  # a run on its way is described by where it is
        console.print(layer_table(samples[-1].layers, f"Layers at step {samples[-1].step:,}"))
    elif probe is not None and probe.layers:
        console.print(layer_table(probe.layers, title_at_start(probe)))
    if diagnosis.not_checked:
        console.print(Text("Not checked", style="bold"))
        for line in diagnosis.not_checked:
            console.print(Padding(Text(f"· {line}", style="dim"), (0, 0, 0, 2)))


def _verdict(diagnosis: Diagnosis) -> RenderableType:
    colour = _VERDICTS.get(diagnosis.verdict, "red")
    title = Text(diagnosis.verdict.upper(), style=f"bold {colour}")
    if diagnosis.remaining_steps is not None:
        title.append(f", about {diagnosis.remaining_steps:,.0f} more steps", style=colour)
    lines = [title, Text(diagnosis.reason), *([Text(said)] if (said := plateau_text(diagnosis.evidence)) else [])]
    return Panel(Group(*lines), border_style=colour, padding=(0, 1))


def finding_view(finding: Finding) -> RenderableType:
    """Draw one finding: cause, what was seen, the numbers, the change."""
    colour = _COLOURS[finding.severity]
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, style="dim", min_width=8)
    table.add_column(overflow="fold")
    rows = [("seen", Text(finding.seen)), ("numbers", Text("; ".join(map(measured, finding.measurements))))]
    if finding.layers:
        rows.append(("layers", Text(named_layers(finding))))
    rows.append(("change", Text(finding.remedy, style="bold")))
    if finding.explains:
        rows.append(("explains", Text(", ".join(finding.explains))))
    rows.append(("source", Text(finding.source, style="dim")))
    for name, value in rows:
        table.add_row(name, value)
    head = Text.assemble((finding.severity, f"bold {colour}"), f" {finding.rule}: ", (finding.cause, "bold"))
    return Group(head, Padding(table, (0, 0, 1, 2)))


def layer_table(layers: tuple[LayerStats, ...], title: str) -> Table:
    """Draw the layers: gain, output predicted and measured with a bar, gradient predicted and measured, update over weight."""
    table = Table(title=title, title_justify="left", title_style="bold", padding=(0, 1, 0, 0), pad_edge=False, box=None)
    columns = ("layer", "gain", "output", "theory", "1e-6  1  1e+6", "gradient", "theory", "update")
    for name in columns:
        text = name in ("layer", columns[4])
        table.add_column(name, justify="left" if text else "right", no_wrap=True)
    for layer in layers:
        table.add_row(
            layer.name,
            _gain(layer.gain),
            _cell(layer.activation_rms),
            _cell(layer.predicted_activation_rms),
            bar(layer.activation_rms),
            _cell(layer.output_gradient_rms),
            _cell(layer.predicted_output_gradient_rms),
            _cell(layer.update_ratio),
        )
    return table


def _gain(value: float | None) -> Text:
    style = "" if value is None or 0.5 <= value <= 2 else ("yellow" if 0.2 <= value <= 5 else "red")
    return Text(_cell(value), style=style)


def _cell(value: float | None) -> str:
    return "" if value is None else number(value)


def bar(value: float | None) -> Text:
    """Draw how far a size is from 1, a decade per character, to the left below and to the right above."""
    if value is None or not math.isfinite(value) or value <= 0:
        return Text("")
    middle = _BAR_WIDTH // 2
    place = min(max(round(math.log10(value)) + middle, 0), _BAR_WIDTH - 1)
    first, last = min(place, middle), max(place, middle)
    cells = ["█" if first <= i <= last else "·" for i in range(_BAR_WIDTH)]
    distance = abs(place - middle)
    return Text("".join(cells), style="green" if distance <= 1 else ("yellow" if distance <= 3 else "red"))
