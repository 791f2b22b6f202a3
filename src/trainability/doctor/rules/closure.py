"""Gradients that add up over the evaluations of a closure, in one step of an optimizer."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rehearsed import AddedInClosure

_FEWEST = 3  # evaluations
_SHARE = 0.5  # of the evaluations; all of them where nothing is cleared, none where the closure clears


def adds_up(found: AddedInClosure | None, evidence: Evidence, rule: str) -> list[Finding]:
    """The finding of a rule; [] where the gradients do not add up, or where they may be meant to.

    LBFGS takes each gradient for that of one point. Another optimizer may sum up those of several points on purpose, or need
    nothing but the loss of the later ones; so it has to have raised the loss, too, and only evaluations to which it has moved
    down the last one's gradients are counted.
    """
    if found is None or found.later < _FEWEST or not found.added > _SHARE * found.later:
        return []
    if not found.is_lbfgs and not reading.has_risen(evidence):
        return []
    name = reading.optimizer_name(evidence) or "the optimizer"
    return [
        Finding(
            rule=rule,
            code=f"{rule}.closure",
            severity="error",
            seen=f"the optimizer evaluates its closure several times in a step, and {found.added} of {found.later} later "
            "evaluations add their gradients to those that the last one left",
            measurements=(
                Measurement(name="evaluations that add to old gradients", value=found.added / found.later, threshold=_SHARE),
                Measurement(name="evaluations after the first of a step", value=float(found.later), threshold=float(_FEWEST)),
            ),
            cause=f"optimizer.zero_grad() is not called inside of the closure, so {name} gets the sum of the gradients "
            "at all points that it has tried in the step",
            remedy="call optimizer.zero_grad() inside of the closure, before loss.backward()",
            source="PyTorch, torch.optim, optimizer.step(closure); own: gradients compared between evaluations",
        )
    ]
