"""Gradients of micro-batches that are added, at a rate that is too large for their sum. No rule."""

import math

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rate_choice import settings_of
from trainability.doctor.rules.smaller_steps import rate_to_set, was_unstable

_WHOLE = 0.7  # of what chance costs: a net starts there or above, and two micro-batches of a divided loss at half
_STAYS = 0.9  # of the first loss
# Smallest of the first two critical multiples, times 1 - momentum, below which steps are too long in whatever order the batches
# come. Own, 117 sums of 4 passes: 4 train though their rehearsal did not stay finite, and lie above, at 0.8 to 1.5; of 31 that
# do not train, 26 lie below.
_FAR_TOO_LONG = 0.6
_AT_ONCE, _EARLY = 1e3, 5  # times the first loss, within so many steps: nor does that depend on the order
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
    is_sure = bool(evidence.steps) or _is_far_too_long(evidence)
    return [
        Finding(
            rule="accumulation",
            code="accumulation.undivided",
            severity="warning" if is_sure else "hint",
            seen=f"each step adds up the gradients of {number} backward passes, and neither losses nor gradients are "
            f"divided by {number}; the loss does not bear steps of that length",
            measurements=(Measurement(name="micro-batches that are added", value=float(number), threshold=1.0),),
            cause=f"the gradient is {number} times the mean over the micro-batches, at a learning rate for a mean",
            remedy=f"(loss / {number}).backward() in place of loss.backward(); or, for the sum, "
            + rate_to_set(evidence, 1 / number),
            source="own; read from the graphs of the losses and from the gradients",
            explains=_SYMPTOMS if is_sure else (),
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
    """Whether rehearsed steps are unstable and do not come back, and the first, as many times shorter, lowers the loss.

    Later steps start far off.
    """
    rehearsal, multiples = evidence.rehearsal, _multiples(evidence)
    if rehearsal is None or not rehearsal.reference or not was_unstable(evidence):
        return False
    first, last, chance = rehearsal.reference[0].loss, rehearsal.reference[-1].loss, rehearsal.task.chance
    start = first if chance is None else min(first, chance)  # dead units leave a loss at chance
    stays = rehearsal.ended_by == "not finite" or not math.isfinite(last) or last > _STAYS * start
    return stays and bool(multiples) and number * multiples[0] >= 1


def _is_far_too_long(evidence: Evidence) -> bool:
    """Whether early steps, with what momentum adds to them, go far beyond where the loss rises; else other batches may do."""
    settings, rehearsal = settings_of(evidence), evidence.rehearsal
    early = rehearsal.steps[:_EARLY] if rehearsal is not None else ()
    losses = [step.loss for step in early if step.loss is not None]
    if any(not math.isfinite(loss) or loss > _AT_ONCE * abs(losses[0]) for loss in losses):
        return True
    kept = 1 - min((settings.momentum or 0.0) if settings is not None else 0.0, 0.999)
    return min(_multiples(evidence)[:2], default=math.inf) * kept < _FAR_TOO_LONG


def _multiples(evidence: Evidence) -> list[float]:
    critical = evidence.rehearsal.critical if evidence.rehearsal is not None else ()
    return [step.multiple for _, step in critical if step.multiple is not None]
