"""A diagnosis as text for a terminal: verdict, causes, layers, what was not checked."""

import math
import textwrap

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence, LayerStats, ProbeResult
from trainability.doctor.finding import Finding, Measurement

WIDTH = 110
_BAR = 12  # characters: a decade of rms each from 1e-6 to 1e+6
_SIGNS = {"error": "✗", "warning": "!", "hint": "·"}


def number(value: float) -> str:
    """A number in four significant figures or fewer: 0.00023 as 2.3e-04."""
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    if math.isnan(value):
        return "NaN"
    if value == 0 or 1e-2 <= abs(value) < 1e5:
        return f"{value:,.0f}" if value == int(value) else f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:.1e}"


def measured(measurement: Measurement) -> str:
    """A measurement with its unit and limit: "loss 2.3 nats (limit 4.6)"."""
    unit = f" {measurement.unit}" if measurement.unit else ""
    limit = f" (limit {number(measurement.threshold)})" if measurement.threshold is not None else ""
    value = "never" if measurement.unit == "steps" and math.isinf(measurement.value) else number(measurement.value) + unit
    return f"{measurement.name} {value}{limit}"


def named_layers(finding: Finding) -> str:
    """The layers that a finding is about, the first six by name."""
    return ", ".join(finding.layers[:6]) + (f" and {len(finding.layers) - 6} more" if len(finding.layers) > 6 else "")


def plateau_text(evidence: Evidence) -> str | None:
    """When the loss of a net that has not begun will leave chance; None where nothing is predicted."""
    probe = evidence.probe
    if probe is None or probe.plateau_steps is None or evidence.steps:
        return None
    planned = probe.optimizer.planned_steps if probe.optimizer is not None else None
    if math.isinf(probe.plateau_steps):
        return "predicted plateau: never ends, weight decay shrinks the weights faster than the gradient grows them"
    text = f"predicted plateau: about {probe.plateau_steps:,.0f} steps at chance"
    if reading.plateau_ends(probe) is None:
        text = f"predicted plateau: at least {probe.plateau_steps:,.0f} steps at chance"
        text += f" ({probe.batch_size} images say little of {probe.num_logits} classes)"
    if planned is None:
        return text
    return f"{text}; the run has {planned:,}" + (": it never ends within it" if probe.plateau_steps > planned else "")


def title_at_start(probe: ProbeResult) -> str:
    """Title of the table of layers of a probe: the budget of the weights, the input's share, and their sum."""
    title = "Layers at the start"
    if probe.log10_gain is None or probe.input_mean_square <= 0:
        return f"{title}: {probe.structure}"
    entry = math.log10(probe.input_mean_square)
    return f"{title}: gain budget {probe.log10_gain:+.1f}, input {entry:+.1f}, together {probe.log10_gain + entry:+.1f}"


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=" " * len(indent))


def render_finding(finding: Finding) -> str:
    """One finding: what was seen, the numbers, the cause, the remedy, the source."""
    lines = [_wrapped(f"{finding.rule}: {finding.seen}", f"  {_SIGNS[finding.severity]} ")]
    lines.append(_wrapped("; ".join(map(measured, finding.measurements)), "      measured  "))
    if finding.layers:
        lines.append(_wrapped(named_layers(finding), "      layers    "))
    lines.append(_wrapped(finding.cause, "      cause     "))
    lines.append(_wrapped(finding.remedy, "      change    "))
    if finding.explains:
        lines.append(_wrapped(", ".join(finding.explains), "      explains  "))
    lines.append(_wrapped(finding.source, "      source    "))
    return "\n".join(lines)


def _bar(value: float | None) -> str:
    """Where a positive number lies between 1e-6 and 1e+6, as a mark on a line whose middle is 1."""
    cells = ["─"] * _BAR
    cells.insert(_BAR // 2, "┼")
    if value is None or not math.isfinite(value) or value <= 0:
        return "".join(cells)
    place = min(max(round(math.log10(value)) + _BAR // 2, 0), _BAR)
    cells[place] = "█"
    return "".join(cells)


def _cell(value: float | None) -> str:
    return "" if value is None else number(value)


def render_layers(layers: tuple[LayerStats, ...]) -> str:
    """Table of layers: gain, output predicted and measured, a bar, gradient predicted and measured, update."""
    if not layers:
        return ""
    head = (
        "layer",
        "kind",
        "gain",
        "output",
        "predicted",
        f"1e-6 {'':{_BAR - 8}} 1e+6",
        "gradient",
        "predicted",
        "update",
    )
    rows: list[tuple[str, ...]] = [head]
    for s in layers:
        rows.append(
            (
                s.name,
                s.kind,
                _cell(s.gain),
                _cell(s.activation_rms),
                _cell(s.predicted_activation_rms),
                _bar(s.activation_rms),
                _cell(s.output_gradient_rms),
                _cell(s.predicted_output_gradient_rms),
                _cell(s.update_ratio),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    text_columns = (0, 1, 5)
    lines = []
    for row in rows:
        cells = [c.ljust(w) if i in text_columns else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)


def render_text(
    *,
    verdict: str,
    reason: str,
    findings: tuple[Finding, ...],
    evidence: Evidence,
    not_checked: tuple[str, ...],
    remaining_steps: float | None,
) -> str:
    """The whole diagnosis, verdict first; the arguments are the fields of `Diagnosis`.

    Returns:
        Plain text of at most `WIDTH` characters a line, but for layer names that are longer themselves.
    """
    more = f" (about {remaining_steps:,.0f} more steps)" if remaining_steps is not None else ""
    parts = [_wrapped(reason, f"{verdict.upper()}{more}: ")]
    if (plateau := plateau_text(evidence)) is not None:
        parts.append(_wrapped(plateau, ""))
    if findings:
        parts.append("\n\n".join(render_finding(f) for f in findings))
    probe = evidence.probe
    samples = [s for s in evidence.samples if s.layers]
    if probe is not None and probe.layers:
        parts.append(f"{title_at_start(probe)}\n{render_layers(probe.layers)}")
    if samples:
        parts.append(f"Layers at step {samples[-1].step:,}\n{render_layers(samples[-1].layers)}")
    if not_checked:
        parts.append("Not checked\n" + "\n".join(_wrapped(line, "  - ") for line in not_checked))
    return "\n\n".join(parts)
