"""Targets that are filled in, and a class that the loss ignores. No rule."""

from trainability.doctor.finding import Finding, Measurement


def filled_in(place: str, value: float, share: float) -> Finding:
    """What is not known, and was given a number."""
    return Finding(
        rule="class_imbalance",
        code="class_imbalance.filled",
        severity="warning",
        seen=f"{share:.0%} of a column of the targets, batch{place}, are {value:g}, whatever the input is; the other values, "
        "on both sides of it, go with the input",
        measurements=(
            Measurement(name="share of the examples with that number", value=share, threshold=0.3),
            Measurement(name="the number", value=value),
        ),
        cause="missing answers were filled in (fillna, nan_to_num), and the loss asks for what was filled in",
        remedy="leave them NaN and take the loss of the others alone: there = ~target.isnan(); loss(output[there], "
        "target[there]); of classes ignore_index=-100",
        source="own; relation to the input of where the number stands, and of the other values",
    )


def ignored_class(number: int, share: float) -> Finding:
    """A class of which nothing is learned."""
    return Finding(
        rule="class_imbalance",
        code="class_imbalance.ignored",
        severity="warning",
        seen=f"the loss ignores class {number}, the label of {share:.0%} of what the batch holds labels for",
        measurements=(Measurement(name="share of the labels that are ignored", value=share, threshold=0.0),),
        cause=f"ignore_index={number} is the number of a class, and not of what has no label",
        remedy="leave ignore_index at -100, and give -100 to what has no label: pad_sequence(targets, padding_value=-100)",
        source="PyTorch, torch.nn.CrossEntropyLoss (ignore_index)",
    )
