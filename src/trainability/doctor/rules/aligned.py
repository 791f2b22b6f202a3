"""Answers that are held against other examples' targets. No rule."""

from trainability.doctor.facts import Facts
from trainability.doctor.finding import Finding, Measurement

MIXED = 1e-3  # change of an output over the outputs' rms when another example is exchanged


def other_targets(facts: Facts) -> list[Finding]:
    """What the loop's own step pairs: an answer with the target of another example."""
    found = facts.misaligned
    if found is None or (facts.leakage or 0.0) > MIXED:  # a model that mixes the batch, and not the step, is the cause then
        return []
    return [
        Finding(
            rule="shuffled_labels",
            code="shuffled_labels.misaligned",
            severity="warning",
            seen=f"row {found.row} of batch{found.given} makes output {found.made}, and row {found.row} of batch{found.target} "
            f"is held against output {found.held}; so it is with {found.num_wrong} of {found.num_asked} rows",
            measurements=(
                Measurement(name="rows held against another's target", value=float(found.num_wrong), threshold=0.0),
                Measurement(name="rows that were asked about", value=float(found.num_asked)),
            ),
            cause="one of the two is rolled, sorted, masked or cut without the other between batch and loss",
            remedy=f"index batch{found.given} and batch{found.target} by one and the same order, or mask, in the training step",
            source="own; rows exchanged one by one",
        )
    ]
