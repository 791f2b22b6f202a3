"""Classes of validation that training lacks. No rule."""

import math
import statistics

from trainability.doctor.audit_results import SplitAudit
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement

_FEWEST_LOST, _LEAST_LOST = 20, 0.05  # validation examples of classes that training lacks, and their share
_AS_OFTEN = 0.2  # of the typical class's share of training over that of validation
_AT_RANDOM, _BY_CHANCE = 0.9, 1e-6  # changes of the label over those at random; chance that a random split leaves classes out


def missing_classes(evidence: Evidence, train: SplitAudit, held_out: SplitAudit) -> list[Finding]:
    """Validation classes that training lacks, as when a list sorted by class was cut in two."""
    known = {c for c, count in enumerate(train.label_counts) if count}
    asked = {c: count for c, count in enumerate(held_out.label_counts) if count}
    lacking = {c: count for c, count in asked.items() if c not in known}
    total, lost = sum(asked.values()), sum(lacking.values())
    outputs = evidence.probe.num_logits if evidence.probe is not None else None
    if not lacking or train.other_classes_later or not known <= set(asked) or outputs is None or outputs <= max(lacking):
        return []
    order, share = train.order, lost / total
    # Data that is sorted, or class after class, was not read completely: the audit reads the first examples.
    if order is None or order.changes < _AT_RANDOM * order.expected_changes:
        return []
    # In a long-tailed training set with a balanced validation, the first examples lack classes too.
    often = sorted(train.label_counts[c] / asked[c] for c in known)
    if len(often) > 1 and often[1] < _AS_OFTEN * statistics.median(often):
        return []
    if lost < _FEWEST_LOST or share < _LEAST_LOST or sum(train.label_counts) * math.log1p(-share) > math.log(_BY_CHANCE):
        return []
    shown = ", ".join(map(str, list(lacking)[:6])) + (" and more" if len(lacking) > 6 else "")
    return [
        Finding(
            rule="split_shift",
            code="split_shift.classes",
            severity="warning",
            seen=f"{100 * share:.0f} % of validation is of classes {shown}, but none of {sum(train.label_counts)} "
            "training examples is",
            measurements=(
                Measurement(name="share of validation without a training example", value=share, threshold=_LEAST_LOST),
                Measurement(name="classes without a training example", value=float(len(lacking)), threshold=0.0),
            ),
            cause="a list sorted by class was split before it was shuffled, or folders are missing",
            remedy="shuffle before the split: torch.utils.data.random_split(dataset, [0.8, 0.2]), or split each class",
            source="own; classes counted in both",
            explains=("overfit", "evaluation_path", "prediction_collapse"),
        )
    ]
