"""Missing targets replaced by a number, and a class that the loss ignores. No rule."""

from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.readings import RareMarks

RARE_LABEL, _FEWEST = 0.1, 100  # share; examples
_RARE_PLACES, _HEAVIEST = (
    0.05,
    100.0,
)  # share of the places; a weight, above which a mark at a wrong place costs next to nothing


def filled_in(place: str, value: float, share: float) -> Finding:
    """Missing targets that were replaced by a number."""
    return Finding(
        rule="class_imbalance",
        code="class_imbalance.filled",
        severity="warning",
        seen=f"{100 * share:.0f} % of a column of the targets, batch{place}, are {value:g}, whatever the input is; "
        "the other values, "
        "on both sides of it, depend on the input",
        measurements=(
            Measurement(name="share of the examples with that number", value=share, threshold=0.3),
            Measurement(name="the number", value=value),
        ),
        cause="missing targets were replaced (fillna, nan_to_num), and the loss trains on the replacement",
        remedy="leave them NaN and take the loss only over the others: there = ~target.isnan(); loss(output[there], "
        "target[there]); for classes, ignore_index=-100",
        source="own; relation to the input of the places with the number, and of the other values",
    )


def rare_label(positive: float, count: int, *, are_classes: bool) -> list[Finding]:
    """One of two labels that few examples have.

    Args:
        positive: share of the examples with label 1.
        count: of the examples.
        are_classes: whether labels are whole numbers, as cross-entropy takes them.
    """
    label, share = (1, positive) if positive < 0.5 else (0, 1 - positive)
    if share >= RARE_LABEL or count < _FEWEST:
        return []
    weight = (1 - positive) / positive
    return [
        Finding(
            rule="class_imbalance",
            severity="hint",
            seen=f"{100 * share:.1f} % of the training examples have label {label}",
            measurements=(
                Measurement(name="share of the rarer label", value=share, threshold=RARE_LABEL),
                Measurement(name="accuracy of always predicting the other", value=1 - share),
            ),
            cause="imbalanced data: predicting one label for every example is nearly always right",
            remedy=(
                f"torch.nn.CrossEntropyLoss(weight=torch.tensor([1.0, {weight:.2g}]))"
                if are_classes
                else f"torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor({weight:.2g}))"
            )
            + " if rare ones matter as much; and look at errors of both labels (balanced accuracy, average precision), not at "
            "the accuracy",
            source="PyTorch, torch.nn.BCEWithLogitsLoss (pos_weight)",
        )
    ]


def rare_places(found: RareMarks) -> Finding:
    """Frames, pixels or other places of one kind, of which few are marked."""
    weight = min((1 - found.share) / found.share, _HEAVIEST)
    change = f"torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor({weight:.2g}))"
    if not found.is_of_logits:
        change = f"weight each place: weight = 1 + {weight - 1:.2g} * target, in binary_cross_entropy(output, target, weight)"
    return Finding(
        rule="class_imbalance",
        code="class_imbalance.places",
        severity="hint",
        seen=f"{100 * found.share:.1f} % of the places of the targets ({found.num_places} in each example) are 1, and the loss "
        "counts all places alike",
        measurements=(
            Measurement(name="share of the places that are 1", value=found.share, threshold=_RARE_PLACES),
            Measurement(name="accuracy of never marking any", value=1 - found.share),
            Measurement(name="examples counted", value=float(found.num_examples)),
        ),
        cause="imbalanced data: no mark is nearly always right, and outputs stay below 0.5 wherever a mark is unsure",
        remedy=f"{change} if a mark that is missed is worse than one too many, or add a Dice loss, or lower the threshold of "
        "0.5; and look at errors of both kinds of places (balanced accuracy, average precision), not at the accuracy",
        source="PyTorch, torch.nn.BCEWithLogitsLoss (pos_weight)",
    )


def ignored_class(number: int, share: float) -> Finding:
    """A class of which nothing is learned."""
    return Finding(
        rule="class_imbalance",
        code="class_imbalance.ignored",
        severity="warning",
        seen=f"the loss ignores class {number}, which is the label of {100 * share:.0f} % of the batch's labels",
        measurements=(Measurement(name="share of the labels that are ignored", value=share, threshold=0.0),),
        cause=f"ignore_index={number} is the index of a class, not a mark for missing labels",
        remedy="leave ignore_index at -100, and use -100 for missing labels: pad_sequence(targets, padding_value=-100)",
        source="PyTorch, torch.nn.CrossEntropyLoss (ignore_index)",
    )
