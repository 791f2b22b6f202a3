"""Validation, from a watched loop's own evaluation passes. No rule."""

import math

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.held_out_seen import HeldOutSeen

FRESH_PASSES = 3  # passes over the training data: after two, examples are not yet memorised
_LEARNED = 0.5  # training's loss over the constant's
_ERRORS, _MORE = 2.0, 0.1  # standard errors above the most frequent class; of the rest, later on
_FEWEST_RENAMED = 2
_MOST = 0.5  # of what lies above the most frequent class


def renamed_in_run(evidence: Evidence) -> list[Finding]:
    """Classes numbered differently in validation than in training, according to the trained model."""
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
            seen=f"class {pairs} in validation: the model is right on {100 * last.hits:.0f} % of it, and predicts the "
            "same other "
            "class for almost all examples of each of these classes",
            measurements=(
                Measurement(name="accuracy on validation", value=last.hits),
                Measurement(name="renamed classes", value=float(len(last.renamed)), threshold=float(_FEWEST_RENAMED)),
            ),
            cause="class names are numbered separately for each split, in another order or from another number",
            remedy="create the table from class names to indices once, and use it for both splits",
            source="own; the model's predictions on validation, class by class",
        )
    ]


def unlike_training(evidence: Evidence) -> list[Finding]:
    """Validation at chance, though training examples that were hardly seen before are predicted: that is not overfitting."""
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
            f"validation's is {first.loss:.3g}, where the best constant answer costs {first.constant_loss:.3g}; the model is "
            f"right on {100 * first.hits:.0f} % of {first.num_examples:,} examples, and "
            f"{100 * first.most_frequent:.0f} % are of one class",
            measurements=(
                Measurement(name="accuracy on validation", value=first.hits, threshold=first.most_frequent),
                Measurement(name="loss on validation", value=first.loss, threshold=first.constant_loss),
                Measurement(
                    name="loss of training", value=first.training_loss or 0.0, threshold=_LEARNED * first.constant_loss
                ),
            ),
            cause="validation's inputs or labels do not mean the same as training's: a vocabulary, a class table, a scaler "
            "or another preprocessing was fitted again for it, or its labels are in another order than its inputs",
            remedy="fit vocabulary, encoder, scaler and class table once on training, and use them unchanged on validation; "
            "print ten examples of both, as the loaders yield them",
            source="own; the loop's own evaluation passes",
            explains=("overfit", "evaluation_path"),
        )
    ]


def contradicted(evidence: Evidence) -> str | None:
    """A sentence if the loop's last evaluation pass contradicts what was learned; None otherwise.

    It does where validation costs more than the best constant answer, and most of the gain over the most frequent class is
    lost.
    """
    seen = reading.facts(evidence).held_out
    last = seen[-1] if seen else None
    if last is None or not _has_learned(evidence, last) or last.loss < last.constant_loss:
        return None
    if last.hits >= last.most_frequent + _MOST * (1 - last.most_frequent):
        return None
    return (
        f"in the loop's own evaluation the model is right on {100 * last.hits:.0f} % of {last.num_examples:,} "
        "examples, at a loss of "
        f"{last.loss:.3g}, where the best constant answer costs {last.constant_loss:.3g}"
    )


def _has_learned(evidence: Evidence, seen: HeldOutSeen) -> bool:
    """Whether the loop's own cross-entropy was then far below the best constant answer's cost."""
    is_entropy = any(sample.task_loss == "cross_entropy" for sample in evidence.samples)
    return is_entropy and seen.training_loss is not None and seen.training_loss <= _LEARNED * seen.constant_loss


def _is_at_chance(seen: HeldOutSeen, more: float) -> bool:
    chance = seen.most_frequent
    error = math.sqrt(max(chance * (1 - chance), 1e-9) / seen.num_examples)
    return seen.hits <= chance + max(_ERRORS * error, more * (1 - chance)) and seen.loss >= seen.constant_loss
