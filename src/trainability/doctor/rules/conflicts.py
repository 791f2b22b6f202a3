"""The same example with different labels."""

import math

from trainability.doctor.audit_results import DataAudit
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.rule import rule


@rule(severities=("warning", "hint"))
def label_conflict(evidence: Evidence) -> list[Finding]:
    """The same training image occurs with different labels.

    Fires: more than 1 % of the training images read occur again, value for value, with another label. A hint where images hold
        fewer than 64 values, because a few words or table columns repeat by themselves; and where half of the images or more
        repeat, as where several people labelled each.
    Why: each such pair keeps the mean loss of its two images at ln 2 or above. Large data sets contain a few; more than one in
        a hundred points to how the labels were made or read.
    What fools it: an image that really has several labels, and images so small or blank that equal values mean nothing.
    Fix: keep one of each, with the correct label; or train with soft or multiple labels.
    Source: own threshold; Northcutt et al., Pervasive Label Errors in Test Sets, NeurIPS 2021, for how common wrong labels
        are.
    """
    share = evidence.data.label_conflict_fraction if evidence.data is not None else None
    if evidence.data is None or share is None or share <= 0.01:
        return []
    return [
        Finding(
            rule="label_conflict",
            severity="warning" if _num_values(evidence.data) >= 64 and not _repeats(evidence.data) else "hint",
            seen=f"{100 * share:.1f} % of the training examples occur again, value for value, with another label",
            measurements=(Measurement(name="examples with two labels", value=share, threshold=0.01),),
            cause="duplicates labelled by different people, or labels read in another order than inputs",
            remedy="keep one of each, with the correct label",
            source="own",
        )
    ]


def _repeats(data: DataAudit) -> bool:
    """Whether most images occur more than once, as in a data set that several people labelled."""
    return (data.copied_fraction or 0.0) >= 0.5


def _num_values(data: DataAudit) -> int:
    return max((math.prod(shape) for shape in data.train.shapes), default=0)  # of one example; the most where they differ
