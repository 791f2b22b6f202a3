"""The page's section on the diagnosis: verdict, findings, when each appeared, table of layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trainability.doctor.layer_table import LayerTable
from trainability.doctor.view import FindingView, Tone, finding_view, finding_views, layer_tables, tone
from trainability.formats import NONE
from trainability.report.marks import finding_events
from trainability.report.series import steps_per_epoch
from trainability.training.record import Run
from trainability.training.run_verdict import run_verdict


@dataclass(frozen=True, kw_only=True)
class FindingEvent:
    """A finding and when it first appeared; `number` is that of its mark on the curves."""

    number: int
    when: str
    finding: FindingView
    now: str


@dataclass(frozen=True, kw_only=True)
class DiagnosisSection:
    """The last diagnosis.

    Attributes:
        title: the verdict.
        tone: its colour.
        when: step of the diagnosis, in words.
        reason: for the verdict, without its full stop.
        findings: the most severe first.
        events: the findings in order of appearance.
        not_checked: what was not checked, each with the reason.
    """

    title: str
    tone: Tone
    when: str
    reason: str
    findings: tuple[FindingView, ...]
    events: tuple[FindingEvent, ...]
    not_checked: tuple[str, ...]


def diagnosis_section(run: Run) -> DiagnosisSection | None:
    """Lay out the last diagnosis of a run; fields that an older version did not write are dashes."""
    if run.findings is None:
        return None
    verdict = str(run.findings.get("verdict", NONE))
    return DiagnosisSection(
        title=run_verdict(run),
        tone=tone(verdict, run.findings.get("findings", ())),
        when=_when_diagnosed(run),
        reason=str(run.findings.get("reason", NONE)),
        findings=tuple(last_findings(run)),
        events=tuple(_events(run)),
        not_checked=tuple(run.findings.get("not_checked", ())),
    )


def last_findings(run: Run) -> list[FindingView]:
    """List the findings of the last diagnosis, the most severe first."""
    return finding_views((run.findings or {}).get("findings", ()))


def _when_diagnosed(run: Run) -> str:
    step = (run.findings or {}).get("step")
    return "at the end" if step and run.result is not None and step == run.result.get("step") else _when(run, step)


def _when(run: Run, step: Any) -> str:
    if not step:
        return "before the first step" if step == 0 else f"step {NONE}"
    per_epoch = steps_per_epoch(run)
    return f"step {step:,}" + (f", epoch {step / per_epoch:.1f}" if per_epoch else "")


def _events(run: Run) -> list[FindingEvent]:
    """List the findings in order of appearance, and whether the last diagnosis still has them."""
    last = {(finding.rule, finding.severity) for finding in last_findings(run)}
    events = []
    for number, row in enumerate(finding_events(run), start=1):
        finding = finding_view(row)
        is_there = (finding.rule, finding.severity) in last
        now = "present" if is_there else "gone, or explained by another finding"
        events.append(FindingEvent(number=number, when=_when(run, row["step"]), finding=finding, now=now))
    return events


def layer_numbers(run: Run) -> tuple[LayerTable, ...]:
    """Lay out the tables of layers, at the start and at the newest sampled step."""
    step = run.layers[-1]["step"] if run.layers else None
    newest = [row for row in run.layers if row["step"] == step]
    return layer_tables((run.evidence or {}).get("probe"), newest, step)
