"""Gradients of micro-batches that are added, at a rate that is too large for their sum. No rule."""

import math

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rate_choice import settings_of
from trainability.doctor.rules.smaller_steps import rate_to_set, was_unstable

_WHOLE = 0.7  # of what chance costs: a net starts there or above, and two micro-batches of a divided loss at half
_STAYS = 0.9  # of the first loss
# What steps that are too long leave behind.
_SYMPTOMS = (
    *("exploding_gradient", "not_finite", "oscillation", "loss_cliff", "clipping", "update_ratio", "dead_units"),
    *("vanishing_gradient", "plateau", "constant_as_good", "prediction_collapse", "collapsed_output"),
)


def undivided(evidence: Evidence) -> list[Finding]:
    """A sum over micro-batches under an optimizer whose steps grow with it, where they are too large."""
    facts, rehearsal, settings = reading.facts(evidence), evidence.rehearsal, settings_of(evidence)
    number = facts.undivided or (rehearsal.undivided if rehearsal is not None else None)
    if number is None or reading.optimizer_name(evidence) != "SGD" or reading.is_opposed(evidence) or not _is_whole(evidence):
        return []
    if (settings is not None and settings.clip is not None) or any((step.clip_ratio or 1.0) < 1 for step in evidence.steps):
        return []  # the length of a clipped gradient is not that of the sum
    if not (_was_thrown(evidence, number) if evidence.steps else _is_too_long(evidence, number)):
        return []
    return [
        Finding(
            rule="accumulation",
            code="accumulation.undivided",
            severity="warning",
            seen=f"each step adds up the gradients of {number} backward passes, and neither losses nor gradients are "
            f"divided by {number}; the loss does not bear steps of that length",
            measurements=(Measurement(name="micro-batches that are added", value=float(number), threshold=1.0),),
            cause=f"the gradient is {number} times the mean over the micro-batches, at a learning rate for a mean",
            remedy=f"(loss / {number}).backward() in place of loss.backward(); or, for the sum, "
            + rate_to_set(evidence, 1 / number),
            source="own; read from the graphs of the losses and from the gradients",
            explains=_SYMPTOMS,
        )
    ]


def _is_whole(evidence: Evidence) -> bool:
    """Whether the first loss is no part of the whole, as a weight inside of it would make it; true where chance is unknown."""
    rehearsal, chance = evidence.rehearsal, reading.chance_as_logged(evidence)
    if evidence.steps:
        first = evidence.steps[0].loss if reading.started_at_zero(evidence) else math.nan
    else:
        first = rehearsal.reference[0].loss if rehearsal is not None and rehearsal.reference else math.nan
        chance = chance if rehearsal is None or rehearsal.task.chance is None else rehearsal.task.chance
    return math.isfinite(first) and (chance is None or first >= _WHOLE * chance)


def _was_thrown(evidence: Evidence, number: int) -> bool:
    """Whether a run of such steps threw its loss far above the first, and has not come back below it."""
    steps = [step for step in evidence.steps if not step.skipped]
    if evidence.micro_batches != number or len(steps) < 2 or reading.has_learned(evidence):
        return False
    first, recent = steps[0].loss, reading.recent_loss(evidence)
    is_high = any(not math.isfinite(step.loss) or step.loss > reading.BLOWN_UP * first for step in steps[1:])
    ends_so = not math.isfinite(steps[-1].loss) or (recent is not None and recent > _STAYS * first)
    return first > 0 and is_high and ends_so


def _is_too_long(evidence: Evidence, number: int) -> bool:
    """Whether rehearsed steps are unstable, and the first, as many times shorter, lowers the loss: later ones start far off."""
    critical = evidence.rehearsal.critical if evidence.rehearsal is not None else ()
    multiples = [step.multiple for _, step in critical if step.multiple is not None]
    return was_unstable(evidence) and bool(multiples) and number * multiples[0] >= 1
