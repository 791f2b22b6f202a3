"""Training that gets far ahead of validation, as recorded evaluations say, and as a script's own passes do. No rule."""

import math

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.watched_validation import FRESH_PASSES

_MANY_PASSES, _MEMORISED = 10, 0.1  # over the training data; of the best constant answer's cost
_WRONG, _MOSTLY_WRONG = 0.3, 0.5  # of the error of that answer


def sure_and_wrong(evidence: Evidence) -> list[Finding]:
    """The validation loss has risen above chance while the training loss is far below it."""
    held_out = [e for e in evidence.evaluations if e.split == "validation" and e.loss is not None and math.isfinite(e.loss)]
    losses = [e.loss or 0.0 for e in held_out]
    chance, recent = reading.chance_loss(evidence), reading.recent_loss(evidence)
    if len(losses) < 3 or chance is None or recent is None or recent > 0.25 * chance or losses[-1] < 1.25 * min(losses):
        return []
    error, at_chance = held_out[-1].top1_error, 1 - math.exp(-chance)
    said = f", and {100 * error:.1f} % of its examples are wrong" if error is not None else ""
    if losses[-1] <= chance:
        return []
    return [
        Finding(
            rule="overfit",
            code="overfit.loss",
            severity="warning" if error is not None and error >= 0.9 * at_chance else "hint",
            seen=f"the validation loss rose from {min(losses):.3g} to {losses[-1]:.3g}, above chance (ln C, {chance:.3g}){said}"
            f", while the training loss fell to {recent:.3g}",
            measurements=(
                Measurement(name="validation loss over chance", value=losses[-1] / chance, threshold=1.0),
                Measurement(name="training loss over chance", value=recent / chance, threshold=0.25),
            ),
            cause="what is learned holds for the training examples only",
            remedy="compare the splits: trainability check with the validation loader; then more data, augmentation or decay",
            source="own; AutoTrainer, ICSE 2021",
        )
    ]


def memorised(evidence: Evidence) -> list[Finding]:
    """A watched script's own evaluation pass: sure of its answers, and wrong, about examples that it was not trained on."""
    looks = [look for look in reading.facts(evidence).held_out if look.passes > FRESH_PASSES and look.as_loaded]
    seen = looks[-1] if looks else None
    # Of one step alone, the weights or the examples may have been changed on purpose, step by step.
    if seen is None or seen.training_loss is None or seen.passes < _MANY_PASSES or looks[0].step == seen.step:
        return []
    share = min((1 - look.hits) / max(1 - look.most_frequent, 1e-9) for look in looks)
    if seen.training_loss > _MEMORISED * seen.constant_loss or seen.loss < seen.constant_loss or share < _WRONG:
        return []
    return [
        Finding(
            rule="overfit",
            code="overfit.memorised",
            severity="warning" if share >= _MOSTLY_WRONG else "hint",
            seen=f"the training loss is {seen.training_loss:.2g}; of {seen.num_examples} examples of an evaluation pass after "
            f"step {seen.step}, {100 * (1 - seen.hits):.0f} % are told wrong, at a loss of {seen.loss:.3g}, above the "
            f"{seen.constant_loss:.3g} of one answer for all",
            measurements=(
                Measurement(name="error over that of a constant answer", value=share, threshold=_WRONG),
                Measurement(name="training loss", value=seen.training_loss, threshold=_MEMORISED * seen.constant_loss),
            ),
            cause="the net memorises its training examples",
            remedy="more training examples, or augmentation of those that there are; weight decay or dropout; or stop at the "
            "best validation step",
            source="Zhang et al., Understanding Deep Learning Requires Rethinking Generalization, ICLR 2017",
        )
    ]
