"""Numbers as targets that come sorted, or nearly so, batch after batch: a finding of `class_order`. No rule."""

from trainability.doctor import reading
from trainability.doctor.audit_results import TargetOrder
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement

_EXPLAINED, _TIMES_CHANCE = 0.5, 4.0
_SAME = 1e-3  # of the range of the targets
_CAUSES = {
    None: "examples are stored in the order of their targets, and the loader does not shuffle them",
    "length": "examples come from short to long, or from long to short, in every pass, and their targets go with their length",
    "sampler": "the loader's sampler draws the examples in the same order in every pass, and their targets go with that order",
}
_SHUFFLED = (
    "DataLoader(..., shuffle=True); where batches are cut by hand, in the order of torch.randperm(len(targets)) drawn anew for "
    "each pass"
)
_MIXED = (
    "DataLoader(..., shuffle=True) in place of the sampler; to save padding, draw the examples in random order, sort some "
    "hundreds at a time by length, cut these into batches, and shuffle the batches, anew in each pass"
)


def sorted_targets(evidence: Evidence) -> list[Finding]:
    """A warning where batches have one narrow range of the targets each; a hint where validation is told all the same."""
    readings = reading.facts(evidence).readings
    order = (evidence.data.train.target_order if evidence.data is not None else None) or readings.sorted_targets
    if order is None or readings.keeps_rows or not _are_asked(evidence, order):
        return []
    if order.along == "sampler" and reading.facts(evidence).recurrence is not None:  # series, in the order of time
        return []
    if order.explained < _EXPLAINED or order.explained < _TIMES_CHANCE * order.by_chance:
        return []
    return [
        Finding(
            rule="class_order",
            code="class_order.targets",
            severity="hint" if reading.carries_over(evidence) else "warning",
            seen=f"targets come {'' if order.along is None else 'nearly '}sorted: {100 * order.explained:.0f} % of their "
            f"variance lies between the {order.num_batches} batches read, {100 * order.by_chance:.0f} % in random order",
            measurements=(
                Measurement(name="share of the targets' variance between batches", value=order.explained, threshold=_EXPLAINED),
                Measurement(name="the same in random order", value=order.by_chance),
                Measurement(name="examples read", value=float(order.num_examples)),
                Measurement(name="smallest target", value=order.lowest),
                Measurement(name="largest target", value=order.highest),
            ),
            cause=f"{_CAUSES[order.along]}: each step moves the outputs to the range of its own batch",
            remedy=_SHUFFLED if order.along is None else _MIXED,
            source="Bottou, Stochastic Gradient Descent Tricks, 2012",
        )
    ]


def _are_asked(evidence: Evidence, order: TargetOrder) -> bool:
    """Whether these are what the loss is given; a watched loop is known by its own pairs of input and target."""
    known = reading.facts(evidence)
    if evidence.steps:
        return True
    near = _SAME * (order.highest - order.lowest)
    return known.target_mean is not None and abs(known.target_mean - order.first_mean) <= near
