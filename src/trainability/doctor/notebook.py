"""A diagnosis as a notebook shows it: what `text` writes, as HTML that a dark notebook shows as well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainability.doctor import markup
from trainability.doctor.experiment_table import COLUMNS, ExperimentTable, experiment_table
from trainability.doctor.view import FindingView, diagnosis_view

if TYPE_CHECKING:
    from trainability.doctor.diagnosis import Diagnosis


def diagnosis_html(diagnosis: Diagnosis) -> str:
    """Write the whole diagnosis, verdict first; what is long is folded."""
    shown = diagnosis_view(diagnosis)
    parts = [markup.heading(shown.title, shown.tone, shown.reason)]
    if shown.plateau is not None:
        parts.append(markup.line(shown.plateau))
    parts += findings_html(shown.findings)
    if diagnosis.evidence.experiments is not None:
        parts.append(experiments_html(experiment_table(diagnosis.evidence.experiments)))
    parts += [markup.folded(table.title, table.html()) for table in shown.tables]
    if shown.not_checked:
        parts.append(markup.folded(f"not checked: {len(shown.not_checked)}", *map(markup.line, shown.not_checked)))
    return markup.block(*parts)


def findings_html(findings: Sequence[FindingView]) -> list[str]:
    """Write each finding; the parts of a hint are folded."""
    found = []
    for finding in findings:
        rows = markup.table((), finding.rows, texts=(True, True))
        head = markup.heading(f"{finding.severity} {finding.rule}:", finding.severity, finding.cause)
        found.append(head + (markup.folded(finding.seen, rows) if finding.severity == "hint" else rows))
    return found


def experiments_html(table: ExperimentTable) -> str:
    """Write what was tried: a row for each change, and below what was not tried."""
    rows = markup.table(COLUMNS, [cells for cells, _ in table.rows], texts=[name in _WORDS for name in COLUMNS])
    left_out = [markup.folded(f"not tried: {len(table.left_out)}", *map(markup.line, table.left_out))] if table.left_out else []
    return "".join([markup.heading(table.title), rows if table.rows else "", *left_out])


_WORDS = ("change", "outcome", "curve")
