"""Weights that something resets between the optimizer's steps. No rule."""

from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rehearsed import Rehearsal, Rewritten


def weights_put_back(evidence: Evidence) -> list[Finding]:
    """Weights most of which have their old values when the optimizer's next step begins; for a few it may be intended."""
    rehearsal = evidence.rehearsal
    seen = rehearsal.rewritten if rehearsal is not None else None
    if seen is None or rehearsal is None or len(seen.undone) <= seen.num_watched / 2:
        return _pulled_back(seen) if seen is not None and seen.pull else _as_at_first(rehearsal)
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


def _pulled_back(seen: Rewritten) -> list[Finding]:
    """An average that is written into the model that is trained: its other side stays as it was when it was copied."""
    shown = ", ".join(seen.pulled[:3]) + (" and more" if len(seen.pulled) > 3 else "")
    return [
        Finding(
            rule="unmoved_parameter",
            code="unmoved_parameter.with_gradient",
            severity="warning",
            seen=f"{shown}: between the optimizer's steps, something moves them back by {100 * seen.pull:.2g} % of the way to "
            "what they were before the first step",
            measurements=(
                Measurement(name="parameters pulled back", value=float(len(seen.pulled))),
                Measurement(name="share of the way back, each time", value=seen.pull, threshold=0.0),
            ),
            cause="a moving average is updated in the wrong direction: the trained weights are averaged with a copy that stays "
            "as it was made",
            remedy="exchange the two models in the update: average = decay * average + (1 - decay) * trained weights, written "
            "into the average",
            source="own; weights before and after optimizer.step()",
            layers=seen.pulled,
        )
    ]


def _as_at_first(rehearsal: Rehearsal | None) -> list[Finding]:
    """All weights as before the first step, bit for bit, though steps were seen that moved them: only a copy does that."""
    seen = rehearsal.rewritten if rehearsal is not None else None
    if rehearsal is None or seen is None or not seen.num_watched or len(rehearsal.unmoved) < rehearsal.num_parameters:
        return []
    return [
        Finding(
            rule="unmoved_parameter",
            code="unmoved_parameter.with_gradient",
            severity="error",
            seen=f"the optimizer moves the weights, and after {len(rehearsal.steps)} steps all of them are again, bit for bit, "
            "what they were before the first",
            measurements=(
                Measurement(name="parameters as at the start", value=float(len(rehearsal.unmoved)), threshold=0.0),
                Measurement(name="parameters that the optimizer moves", value=float(seen.num_watched)),
            ),
            cause="something else writes old weights over them every so many steps: a copy (a target network, an average) or a "
            "checkpoint is loaded into the model that is trained",
            remedy="turn the copy round, from the trained model into the other: target.load_state_dict(model.state_dict()), "
            "not model.load_state_dict(target.state_dict()); a checkpoint is loaded once, before the loop",
            source="own; weights before and after the rehearsal, and before and after optimizer.step()",
            layers=rehearsal.unmoved,
        )
    ]
