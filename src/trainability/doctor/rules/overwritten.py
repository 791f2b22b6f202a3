"""Weights that something writes to between the optimizer's steps. No rule."""

from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement


def written_over(evidence: Evidence) -> list[Finding]:
    """Weights of which most are put back, or drawn anew, between the optimizer's steps."""
    rehearsal = evidence.rehearsal
    seen = rehearsal.rewritten if rehearsal is not None else None
    if seen is None:
        return []
    undone = len(seen.undone) > seen.num_watched / 2  # of a few it may be meant: they are held where they are
    if not undone and not seen.replaced:
        return []
    names = seen.undone if undone else seen.replaced
    shown = ", ".join(names[:3]) + (" and more" if len(names) > 3 else "")
    return [
        Finding(
            rule="unmoved_parameter",
            code="unmoved_parameter.with_gradient" if undone else "unmoved_parameter.overwritten",
            severity="error",
            seen=f"{shown}: the optimizer moves them, and less than 1 % of it is left when its next step begins"
            if undone
            else f"{shown}: between two steps more is written to them than three times what the optimizer moves them by",
            measurements=(
                Measurement(
                    name="parameters written to", value=float(len(names)), threshold=seen.num_watched / 2 if undone else 0.0
                ),
                Measurement(name="parameters that the optimizer moves", value=float(seen.num_watched)),
            ),
            cause="something else writes to the weights: a checkpoint that is loaded, an average or a copy that goes the wrong "
            "way, an initialisation inside of the loop",
            remedy="take what writes to the weights out of the loop (load_state_dict, copy_, reset_parameters, apply), or "
            "let it write to the other model",
            source="own; weights before and behind optimizer.step()",
            layers=names,
        )
    ]
