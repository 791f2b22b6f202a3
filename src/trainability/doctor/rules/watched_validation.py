"""Validation as a watched loop's own evaluation passes show it. No rule."""

import math

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.held_out_seen import HeldOutSeen

FRESH_PASSES = 3  # over the training data: what was seen twice before is not known by heart
_LEARNED = 0.5  # of the constant answer's loss, that training's comes to
_ERRORS, _MORE = 2.0, 0.1  # standard errors above the most frequent class; of the rest, later on
_FEWEST_RENAMED = 2
_MOST = 0.5  # of what lies above the most frequent class


def renamed_in_run(evidence: Evidence) -> list[Finding]:
    """What training calls by one name and validation by another, told by the trained model itself."""
    seen = reading.facts(evidence).held_out
    last = seen[-1] if seen else None
    if last is None or len(last.renamed) < _FEWEST_RENAMED or not _has_learned(evidence, last):
        return []
    pairs = ", ".join(f"{told} is {name}" for told, name in last.renamed[:4]) + (", ..." if len(last.renamed) > 4 else "")
    return [
        Finding(
            rule="validation_labels",
            code="validation_labels.renamed",
            severity="warning",
            seen=f"class {pairs} in validation: the model is right on {last.hits:.0%} of it, and gives nearly all examples "
            "of each of these classes one and the same other class",
            measurements=(
                Measurement(name="accuracy on validation", value=last.hits),
                Measurement(name="classes of another name", value=float(len(last.renamed)), threshold=float(_FEWEST_RENAMED)),
            ),
            cause="class names are numbered anew for each split, in another order or from another number",
            remedy="make the table from class names to numbers once, and use it for both splits",
            source="own; the model's answers to validation, class by class",
        )
    ]


def unlike_training(evidence: Evidence) -> list[Finding]:
    """Validation at chance while training is told that was hardly seen before: no overfitting explains that."""
    seen = reading.facts(evidence).held_out
    fresh = [each for each in seen if each.passes <= FRESH_PASSES and _has_learned(evidence, each) and not each.running]
    if (
        not fresh
        or len(seen[-1].renamed) >= _FEWEST_RENAMED
        or not all(_is_at_chance(each, 0.0) for each in fresh)
        or not _is_at_chance(seen[-1], _MORE)
    ):
        return []
    first = fresh[-1]
    return [
        Finding(
            rule="split_shift",
            code="split_shift.meaning",
            severity="warning",
            seen=f"after {first.passes:.2g} passes over the training data its loss is {first.training_loss:.3g}, and "
            f"validation's is {first.loss:.3g}, where one answer for all costs {first.constant_loss:.3g}; the model is right "
            f"on {first.hits:.0%} of {first.num_examples:,} examples, and {first.most_frequent:.0%} are of one class",
            measurements=(
                Measurement(name="accuracy on validation", value=first.hits, threshold=first.most_frequent),
                Measurement(name="loss on validation", value=first.loss, threshold=first.constant_loss),
                Measurement(
                    name="loss of training", value=first.training_loss or 0.0, threshold=_LEARNED * first.constant_loss
                ),
            ),
            cause="inputs or labels of validation do not mean what those of training do: an index of words or classes, a "
            "scaler or another preprocessing was made anew for it, or its labels are in another order than its inputs",
            remedy="make vocabulary, encoder, scaler and class numbers on training once, and use them as they are on "
            "validation; print ten examples of both, as the loaders yield them",
            source="own; the loop's own evaluation passes",
            explains=("overfit", "evaluation_path"),
        )
    ]


def contradicted(evidence: Evidence) -> str | None:
    """What the loop's last evaluation pass says against what was learned: it costs more than one answer for all, and most of
    what lies above the most frequent class is told wrong.
    """
    seen = reading.facts(evidence).held_out
    last = seen[-1] if seen else None
    if last is None or not _has_learned(evidence, last) or last.loss < last.constant_loss:
        return None
    if last.hits >= last.most_frequent + _MOST * (1 - last.most_frequent):
        return None
    return (
        f"in the loop's own evaluation the model is right on {last.hits:.0%} of {last.num_examples:,} examples, at a loss of "
        f"{last.loss:.3g}, where one answer for all costs {last.constant_loss:.3g}"
    )


def _has_learned(evidence: Evidence, seen: HeldOutSeen) -> bool:
    """Whether the loop's own cross-entropy was far below a constant answer's then."""
    is_entropy = any(sample.task_loss == "cross_entropy" for sample in evidence.samples)
    return is_entropy and seen.training_loss is not None and seen.training_loss <= _LEARNED * seen.constant_loss


def _is_at_chance(seen: HeldOutSeen, more: float) -> bool:
    chance = seen.most_frequent
    error = math.sqrt(max(chance * (1 - chance), 1e-9) / seen.num_examples)
    return seen.hits <= chance + max(_ERRORS * error, more * (1 - chance)) and seen.loss >= seen.constant_loss
