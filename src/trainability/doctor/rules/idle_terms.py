"""Terms of the loss that train nothing"""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.rule import rule

_SMALL = 0.01  # of the loss


@rule(severities=("warning", "hint"))
def idle_term(evidence: Evidence) -> list[Finding]:
    """A term of the loss is a step function of the outputs, and has no gradient.

    Fires: a number that is added to the loss is not zero, has no gradient, and is computed from what has one by argmax or a
        comparison, of which nothing with a gradient is made beside it (a mask, a choice). A hint where it is less than a
        hundredth of the loss.
    Why: a step function is flat wherever it does not jump: the term changes the loss that is printed, and no weight. What it is
        meant to penalise stays as it is.
    What fools it: a term that is meant to be read alone, such as an error rate. Silent where a detached number is added, as
        in straight-through estimates.
    Fix: compute the term from probabilities instead of classes, or from distances instead of comparisons: for the share of
        wrong classes (pred.argmax(1) != y), 1 - pred.softmax(1)[range(len(y)), y].
    Source: own.
    """
    found = reading.facts(evidence).readings.idle_term
    if found is None:
        return []
    step, share = found
    return [
        Finding(
            rule="idle_term",
            severity="hint" if share < _SMALL else "warning",
            seen=f"a term of {share:.2g} times the loss is computed from the outputs by {step}() and has no gradient",
            measurements=(Measurement(name="size of the term over that of the loss", value=share, threshold=0.0),),
            cause=f"{step}() is flat: the term changes the loss, and no weight",
            remedy=f"compute the term without {step}(): from softmax or sigmoid probabilities instead of classes, from "
            "relu(difference) instead of a comparison; or take it out of the loss, if it is only to be read",
            source="own; read off the computation",
        )
    ]
