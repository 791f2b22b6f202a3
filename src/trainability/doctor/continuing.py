"""What was known of a training earlier: its evidence, and remedies to keep in a later diagnosis."""

from dataclasses import replace
from typing import Any

from trainability.doctor.diagnosis import Diagnosis
from trainability.doctor.evidence import Evidence, ProbeResult
from trainability.doctor.rules.verdict import diagnose
from trainability.doctor.told import told


def keep_prescriptions(diagnosis: Diagnosis, before: Diagnosis) -> Diagnosis:
    """Keep remedies that were computed for this training, such as an initialisation plan.

    Args:
        diagnosis: the later one, with the rules' general remedies.
        before: the earlier one. A remedy of it that differs from the rule's was computed for this training.

    Returns:
        `diagnosis`, with the computed remedies of findings that both have.
    """
    usual = {finding.code: finding.remedy for finding in diagnose(before.evidence).findings}
    better = {f.code: f.remedy for f in before.findings if f.code in usual and f.remedy != usual[f.code]}
    decided = {f.code for f in diagnosis.findings if f.tested is not None and f.tested.outcome in ("confirmed", "refuted")}
    kept = {code: remedy for code, remedy in better.items() if code not in decided}  # what was tried goes before
    findings = tuple(replace(f, remedy=kept[f.code]) if f.code in kept else f for f in diagnosis.findings)
    return replace(diagnosis, findings=findings)


def known_before(before: Any) -> Evidence:
    """The evidence in what was known of a training before its loop.

    Raises:
        ValueError: it is no diagnosis, evidence or probe.
    """
    if before is None:
        return Evidence()
    if isinstance(before, Diagnosis):
        return before.evidence
    if isinstance(before, (Evidence, ProbeResult)):
        return Evidence.of(before)
    raise ValueError(f"before is {told(before)}; expected a Diagnosis, an Evidence or a ProbeResult")
