"""Findings and diagnoses as named rows, for whoever draws them: plain text, a terminal, the watching screen, a report.

What a row is called, where it stands and how its numbers are written is decided here, and for layers in `doctor.layer_table`; a
drawer chooses colours and line breaks, and how much fits. Findings are taken as objects or in the plain form that a run
directory keeps. Data only; no torch.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence, ProbeResult
from trainability.doctor.finding import SEVERITIES, Finding
from trainability.doctor.layer_stats import LayerStats
from trainability.doctor.layer_table import LayerTable, field_of, layer_table, number, number_of, power

if TYPE_CHECKING:
    from trainability.doctor.diagnosis import Diagnosis

MOST_NAMED = 6
"""Layers that a finding names in full."""

Tone = Literal["good", "open", "bad"]
_TONES: dict[str, Tone] = {
    "will train": "good",
    "is training": "good",
    "has learned": "good",
    "was still training when it ended": "good",
    "slow start": "open",
    "cannot tell": "open",
}


@dataclass(frozen=True, kw_only=True)
class FindingView:
    """A finding as it is shown.

    Attributes:
        severity: "hint", "warning" or "error".
        rule: name of the rule.
        code: which of the rule's causes it is.
        cause: the heading's words.
        seen: what was seen, the line's words.
        layers: all layers concerned.
        rows: name and text of each part below the heading, in order: "seen", "numbers", "layers", "tested", "change",
            "explains", "source", "more". A part that the finding lacks has no row.
    """

    severity: str
    rule: str
    code: str
    cause: str
    seen: str
    layers: tuple[str, ...]
    rows: tuple[tuple[str, str], ...]

    @property
    def all_layers(self) -> str:
        """All layers concerned, by name."""
        return ", ".join(map(_layer, self.layers))

    @property
    def heading(self) -> str:
        """The first line of a finding that is shown whole."""
        return f"{self.severity} {self.rule}: {self.cause}"

    @property
    def line(self) -> str:
        """The finding in one line."""
        return f"{self.severity} {self.rule}: {self.seen}"


def measured(measurement: Any) -> str:
    """Write a measurement with its unit and limit: "loss 2.3 nats (limit 4.6)"."""
    name, word, value, threshold = (field_of(measurement, key) for key in ("name", "unit", "value", "threshold"))
    size, limit = number_of(value), number_of(threshold)
    if size is None:
        return f"{name} not recorded"
    limit = limit if limit is not None and math.isfinite(limit) else None
    write = _power_of_ten if word == "log10" else number
    if limit is not None and limit != size and write(limit) == write(size):
        write = _exact  # or one number would be over a limit that looks the same
    unit = f" {word}" if word and word != "log10" and word not in str(name).split() else ""
    written = "never" if word == "steps" and math.isinf(size) else f"{write(size)}{unit}"
    return f"{name} {written}" + (f" (limit {write(limit)})" if limit is not None else "")


def _power_of_ten(exponent: float) -> str:
    return f"10^{exponent:.3g}"


def _exact(value: float) -> str:
    return f"{value:.6g}"


def some_layers(names: Sequence[str]) -> str:
    """Name the first layers, and count the others."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(map(_layer, names[:MOST_NAMED])) + more


def _layer(name: str) -> str:
    return f"({name})" if name.isdigit() else name  # as PyTorch prints the parts of a Sequential


def tested_text(tested: Any) -> str:
    """Write what experiments say of a finding; nothing where none were made."""
    return f"{field_of(tested, 'outcome')}: {field_of(tested, 'said')}" if tested else ""


def finding_view(finding: Finding | Mapping[str, Any]) -> FindingView:
    """Lay a finding out.

    Args:
        finding: the object, or its plain form; of a run of an older version, fields may be missing.
    """

    def text(name: str) -> str:
        return str(field_of(finding, name) or "")

    rule, layers = text("rule"), tuple(map(str, field_of(finding, "layers") or ()))
    code = text("code") or rule
    parts = {
        "seen": text("seen"),
        "numbers": "; ".join(map(measured, field_of(finding, "measurements") or ())),
        "layers": some_layers(layers),
        "tested": tested_text(field_of(finding, "tested")),
        "change": text("remedy"),
        "explains": ", ".join(map(str, field_of(finding, "explains") or ())),
        "source": text("source"),
        "code": code if code != rule else "",
        "more": text("read_more") or (f"trainability explain {rule}" if rule else ""),
    }
    return FindingView(
        severity=text("severity"),
        rule=rule,
        code=code,
        cause=text("cause"),
        seen=text("seen"),
        layers=layers,
        rows=tuple((name, said) for name, said in parts.items() if said),
    )


def finding_views(findings: Iterable[Finding | Mapping[str, Any]]) -> list[FindingView]:
    """Lay findings out, the most severe first, and equally severe ones in the order in which the doctor ranked them."""
    order = {severity: place for place, severity in enumerate(reversed(SEVERITIES))}
    return sorted(map(finding_view, findings), key=lambda seen: order.get(seen.severity, len(order)))


def tone(verdict: str, findings: Iterable[Any] = ()) -> Tone:
    """Say how a verdict is coloured: a good one is open where something worse than a hint was found.

    Args:
        verdict: one of `VERDICTS`.
        findings: beside it, as objects, in plain form or laid out.
    """
    own = _TONES.get(verdict, "bad")
    is_doubted = own == "good" and any(field_of(finding, "severity") != "hint" for finding in findings)
    return "open" if is_doubted else own


def verdict_title(verdict: str, remaining_steps: Any = None, findings: Iterable[Any] = ()) -> str:
    """Write a verdict, for how many steps it will hold where that is predicted, and what is said in spite of it.

    Args:
        verdict: one of `VERDICTS`.
        remaining_steps: predicted further steps at chance: "slow start, about 40 more steps".
        findings: beside it, as for `tone`; a verdict that is not bad gives their number: "cannot tell, with 1 warning".
    """
    remaining = number_of(remaining_steps)
    is_known = remaining is not None and math.isfinite(remaining) and remaining >= 1
    title = f"{verdict}, about {remaining:,.0f} more steps" if is_known else verdict
    counts = Counter(field_of(finding, "severity") for finding in findings) if tone(verdict) != "bad" else Counter()
    named = [f"{n} {kind}{'s' if n > 1 else ''}" for kind in ("error", "warning") if (n := counts[kind])]
    return f"{title}, with {' and '.join(named)}" if named else title


def plateau_text(evidence: Evidence) -> str | None:
    """Say when the loss of a net that has not begun will leave chance; `None` where nothing is predicted."""
    probe = evidence.probe
    if probe is None or probe.plateau_steps is None or evidence.steps:
        return None
    planned = probe.optimizer.planned_steps if probe.optimizer is not None else None
    if math.isinf(probe.plateau_steps):
        return (
            "predicted stay at chance: it never ends, as weight decay shrinks the weights faster than the gradient grows them"
        )
    text = f"predicted stay at chance: about {probe.plateau_steps:,.0f} steps"
    if reading.plateau_ends(probe) is None:
        text = f"predicted stay at chance: at least {probe.plateau_steps:,.0f} steps"
        text += f" ({probe.batch_size} examples are too few to predict more for {probe.num_logits:,} classes)"
    if planned is None:
        return text
    return f"{text}; the run has {planned:,}" + (", and does not leave it" if probe.plateau_steps > planned else "")


_NO_BUDGET = {
    "normalised": "normalisation resets the signal's scale",
    "residual": "skip connections add to the signal",
    "branched": "branches that meet again add to the signal",
}


def start_title(probe: ProbeResult | Mapping[str, Any]) -> str:
    """Title of the table of layers of a probe: the budget of the weights, the input's share, and their sum."""
    title = "Layers at the start"
    budget, total = number_of(field_of(probe, "log10_gain")), reading.total_budget(probe)
    if budget is None or total is None:
        why = _NO_BUDGET.get(str(field_of(probe, "structure")))
        return f"{title} (no gain budget: {why})" if why else title
    return f"{title}: gain budget of the weights {power(budget)}, of the input {power(total - budget)}, of both {power(total)}"


def layer_tables(
    probe: ProbeResult | Mapping[str, Any] | None, sampled: Sequence[LayerStats | Mapping[str, Any]], step: int | None
) -> tuple[LayerTable, ...]:
    """Lay out the layers at the start, and at the newest sampled step.

    Args:
        probe: what was probed before the first step.
        sampled: layers of that sampled step.
        step: its number, from 1.
    """
    at_start = (field_of(probe, "layers") if probe is not None else None) or ()
    tables = [layer_table(at_start, start_title(probe))] if probe is not None and at_start else []
    if sampled:
        tables.append(layer_table(sampled, f"Layers at step {step:,}"))
    return tuple(tables)


@dataclass(frozen=True, kw_only=True)
class DiagnosisView:
    """A diagnosis as it is shown, from the top.

    Attributes:
        title: the verdict.
        tone: its colour.
        reason: one sentence for it.
        plateau: when the loss is predicted to leave chance.
        findings: the most severe first.
        tables: of layers.
        not_checked: what was not looked at, each with the reason.
    """

    title: str
    tone: Tone
    reason: str
    plateau: str | None
    findings: tuple[FindingView, ...]
    tables: tuple[LayerTable, ...]
    not_checked: tuple[str, ...]


def diagnosis_view(diagnosis: Diagnosis) -> DiagnosisView:
    """Lay a diagnosis out."""
    evidence = diagnosis.evidence
    samples = [sample for sample in evidence.samples if sample.layers]
    return DiagnosisView(
        title=verdict_title(diagnosis.verdict, diagnosis.remaining_steps, diagnosis.findings),
        tone=tone(diagnosis.verdict, diagnosis.findings),
        reason=diagnosis.reason,
        plateau=plateau_text(evidence),
        findings=tuple(finding_views(diagnosis.findings)),
        tables=layer_tables(evidence.probe, samples[-1].layers if samples else (), samples[-1].step if samples else None),
        not_checked=diagnosis.not_checked,
    )
