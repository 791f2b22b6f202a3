"""Padding that the loss counts, or that is at the other end of the targets. No rule."""

from trainability.doctor.facts import Facts
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.readings import FilledEnds

MOSTLY_PADDING = 0.5  # share of the places that the loss counts


def padded_apart(facts: Facts) -> list[Finding]:
    """Words padded at one end, and targets at the other."""
    if facts.padded_apart is None:
        return []
    return [
        Finding(
            rule="shuffled_labels",
            code="shuffled_labels.padded",
            severity="warning",
            seen="sequences are padded at one end and their targets at the other, by the same number: each word gets the "
            "target of another",
            measurements=(Measurement(name="share of the padding with a target", value=facts.padded_apart, threshold=0.1),),
            cause="the two are padded by functions with different defaults: Keras's pad_sequences pads at the start, "
            "torch.nn.utils.rnn.pad_sequence at the end",
            remedy='pad both at the end: pad_sequences(..., padding="post"), or torch.nn.utils.rnn.pad_sequence for both',
            source="own; padding lengths counted for each sequence",
        )
    ]


def padding_asked(facts: Facts) -> list[Finding]:
    """Places after a sequence's end that count in the loss."""
    if facts.padding_asked is None:
        return [_of_filled_ends(found)] if (found := facts.readings.filled_ends) is not None else []
    kind, number, share = facts.padding_asked
    is_marked = kind == "marked"
    if not is_marked and share < MOSTLY_PADDING:
        return []
    ignore = f"ignore_index={number}" if is_marked else "ignore_index=-100, and -100 in the targets at padding"
    return [
        Finding(
            rule="class_imbalance",
            code="class_imbalance.padding",
            severity="warning" if is_marked else "hint",
            seen=(f"targets are {number} at padding, and the loss still counts those places: " if is_marked else "")
            + f"{100 * share:.0f} % of the places that the loss counts are padding"
            + ("" if is_marked else f", as class {number}, which words have too"),
            measurements=(Measurement(name="share of padding", value=share, threshold=0.0 if is_marked else MOSTLY_PADDING),),
            cause="the loss at padding is easy to lower, and outweighs the loss at words",
            remedy=f"leave padding out of the loss: torch.nn.functional.cross_entropy(output, target, {ignore})",
            source="PyTorch, torch.nn.CrossEntropyLoss (ignore_index); the gradient of the loss at each place",
        )
    ]


def _of_filled_ends(found: FilledEnds) -> Finding:
    is_unseen = found.sudden and not found.shown
    return Finding(
        rule="class_imbalance",
        code="class_imbalance.padding",
        severity="warning" if is_unseen else "hint",
        seen=f"{100 * found.share:.0f} % of the targets, batch{found.target}, are {found.value:g} behind the ends that "
        f"batch{found.told_by} tells, and the loss counts those places"
        + (": nothing goes by the ends, and the model sees none of them" if is_unseen else ""),
        measurements=(
            Measurement(name="share of padding", value=found.share, threshold=0.1),
            Measurement(name="the number", value=found.value),
        ),
        cause=f"rows of different lengths are padded with {found.value:g}, and the loss pulls the answers there to it",
        remedy="leave padding out of the loss: (error * mask).sum() / mask.sum(), with mask 1 at the recorded places",
        source="own; the gradient of the loss at each target",
    )
