"""Terms of the loss that train nothing"""

from pathlib import Path

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.readings import EmptyTerm
from trainability.doctor.rules.rule import rule

_SMALL = 0.01  # of the loss


@rule(severities=("warning", "hint"))
def idle_term(evidence: Evidence) -> list[Finding]:
    """A term of the loss trains nothing: a step function of outputs, or of no numbers.

    Fires: a number that is added to the loss is not zero, has no gradient, and is computed from what has one by argmax or a
        comparison, of which nothing with a gradient is made beside it (a mask, a choice). A hint where it is less than a
        hundredth of the loss. Code `empty`: a loss of PyTorch, or a sum or mean of what has a gradient, is given no number (or
        numbers that a mask of zeros multiplies, which is computed from the batch and constants alone) in any batch of a pass,
        as where nothing is chosen, however loud the outputs are (a hint where a pass was not read to its end, and not 1,000
        examples), and parameters that would make these numbers get a gradient of zero.
    Why: a step function is flat wherever it does not jump: the term changes the loss that is printed, and no weight. What it is
        meant to penalise stays as it is. A term of no numbers is zero whatever the weights are, and so is its gradient.
    What fools it: a term that is meant to be read alone, such as an error rate; examples of a kind that comes only later.
        Silent where a detached number is added, as in straight-through estimates.
    Fix: compute the term from probabilities instead of classes, or from distances instead of comparisons: for the share of
        wrong classes (pred.argmax(1) != y), 1 - pred.softmax(1)[range(len(y)), y]. Code `empty`: print how many rows the mask
        in the finding's line chooses; choose by something that is met, such as anchors as large as the boxes.
    Source: own.
    """
    readings = reading.facts(evidence).readings
    if readings.empty_term is not None:
        return [_of_nothing(readings.empty_term)]
    if (found := readings.idle_term) is None:
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


def _of_nothing(term: EmptyTerm) -> Finding:
    """A choice that is empty in every batch."""
    names = ", ".join(term.silent[:3]) + (" and more" if len(term.silent) > 3 else "")
    where = f"{Path(term.file).name}, line {term.line}"
    return Finding(
        rule="idle_term",
        code="idle_term.empty",
        severity="warning" if term.is_enough else "hint",
        seen=f"{term.name}() in {where}, is given no numbers in any of {term.batches} batches; {names} "
        f"{'get' if len(term.silent) > 1 else 'gets'} a gradient of zero",
        measurements=(
            Measurement(name="numbers that it is given", value=0.0, threshold=1.0),
            Measurement(name="parameters without a gradient", value=float(len(term.silent))),
        ),
        cause="what chooses the rows for this term chooses none, so that it trains nothing",
        remedy=f"find out why nothing is chosen in {where}: print mask.sum(); compare the condition with the data, such as a "
        "threshold of overlap with the sizes of anchors and boxes, or a label with those that there are",
        source="own; the number of elements, counted",
        layers=tuple(dict.fromkeys(name.rpartition(".")[0] for name in term.silent)),
        explains=("unmoved_parameter", "untrained_parameter", "unreached_parameter", "zero_gradient"),
    )
