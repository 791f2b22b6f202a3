"""A diagnosis that follows another one of the same training: what was prescribed stays prescribed."""

from dataclasses import replace

from trainability.doctor.diagnosis import Diagnosis
from trainability.doctor.rules.verdict import diagnose


def keep_prescriptions(diagnosis: Diagnosis, before: Diagnosis) -> Diagnosis:
    """Keep remedies that were worked out for this training, such as a whole initialisation plan.

    Args:
        diagnosis: the later one, with the remedies that the rules themselves give.
        before: an earlier one. Where its remedy is not what the rule says of its evidence, someone put a better one there.

    Returns:
        `diagnosis`, with the better remedies of findings that both have.
    """
    usual = {finding.code: finding.remedy for finding in diagnose(before.evidence).findings}
    better = {f.code: f.remedy for f in before.findings if f.code in usual and f.remedy != usual[f.code]}
    findings = tuple(replace(f, remedy=better[f.code]) if f.code in better else f for f in diagnosis.findings)
    return replace(diagnosis, findings=findings)
