"""Weights that something puts back between the optimizer's steps. No rule."""

from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement


def weights_put_back(evidence: Evidence) -> list[Finding]:
    """Weights of which most are where they were when the optimizer's next step begins; of a few it may be meant."""
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
            seen=f"{shown}: the optimizer moves them, and less than 1 % of it is left when its next step begins",
            measurements=(
                Measurement(name="parameters put back", value=float(len(seen.undone)), threshold=seen.num_watched / 2),
                Measurement(name="parameters that the optimizer moves", value=float(seen.num_watched)),
            ),
            cause="something else writes to the weights: a checkpoint that is loaded, an average or a copy that goes the wrong "
            "way",
            remedy="take what writes to the weights out of the loop (load_state_dict, copy_, .data), or let it write to the "
            "other model",
            source="own; weights before and behind optimizer.step()",
            layers=seen.undone,
        )
    ]
