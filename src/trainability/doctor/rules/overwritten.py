"""Weights that something resets between the optimizer's steps. No rule."""

from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement


def weights_put_back(evidence: Evidence) -> list[Finding]:
    """Weights most of which have their old values when the optimizer's next step begins; for a few it may be intended."""
    rehearsal = evidence.rehearsal
    seen = rehearsal.rewritten if rehearsal is not None else None
    if seen is None or len(seen.undone) <= seen.num_watched / 2:
        return []
    shown = ", ".join(seen.undone[:3]) + (" and more" if len(seen.undone) > 3 else "")
    return [
        Finding(
            rule="unmoved_parameter",
            code="unmoved_parameter.with_gradient",
            severity="error",
            seen=f"{shown}: the optimizer moves them, but less than 1 % of the change is left when its next step begins",
            measurements=(
                Measurement(name="parameters reset", value=float(len(seen.undone)), threshold=seen.num_watched / 2),
                Measurement(name="parameters that the optimizer moves", value=float(seen.num_watched)),
            ),
            cause="something else writes to the weights: a checkpoint that is loaded, or an average or a copy in the wrong "
            "direction",
            remedy="move what writes to the weights (load_state_dict, copy_, .data) out of the loop, or let it write to the "
            "other model",
            source="own; weights before and after optimizer.step()",
            layers=seen.undone,
        )
    ]
