"""Keep the remedies of an earlier diagnosis of the same training in a later one."""

from dataclasses import replace

from trainability.doctor.diagnosis import Diagnosis
from trainability.doctor.rules.verdict import diagnose


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
    findings = tuple(replace(f, remedy=better[f.code]) if f.code in better else f for f in diagnosis.findings)
    return replace(diagnosis, findings=findings)
