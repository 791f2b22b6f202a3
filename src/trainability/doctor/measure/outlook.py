"""What a rehearsal promises: a verdict from what was tried and measured, or none.

Thresholds are set on the even seeds of `benchmarks/verdicts.py` and scored on the odd ones; its table says how often each
verdict is right.
"""

import math
from dataclasses import dataclass

from trainability.doctor.rehearsed import CriticalStep, Observation, Rehearsal

WILL_TRAIN = "will train"
TOO_SLOW = "too slow"
STALLED = "stalled"
CAPPED = "capped"
UNSTABLE = "unstable"
DEAD = "dead"
BROKEN_LOSS = "broken loss"
HAS_LEARNED = "has learned"
CANNOT_TELL = "cannot tell"
VERDICTS = (WILL_TRAIN, TOO_SLOW, STALLED, CAPPED, UNSTABLE, DEAD, BROKEN_LOSS, HAS_LEARNED, CANNOT_TELL)

# Shares are of the way from chance to the floor of the loss: 0 at chance, 1 at the floor, negative above chance.
TRAINED_SHARE = 0.25  # what "will train" promises by the end of the plan
LEARNING_SHARE = 0.10  # more than the best constant answer can have by luck on a batch: the output follows the input
LEARNED_SHARE = 0.5  # at the start: weights that know the task
COLLAPSED = 1e-3  # spread of the outputs over their size: below, the answer does not depend on the input
FALLING = 0.04  # fall of the loss where chance is unknown; pilot of DESIGN: 19 of 23 that train fell by 4 % in 30 steps
SMALL_MULTIPLE, LARGE_MULTIPLE = 1.0, 1e3  # pilot of DESIGN: healthy nets 1 to 1,000
DEAD_RATE = 1e-3  # a learning rate that fell below this share of its largest within the rehearsal


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What a rehearsal promises.

    Attributes:
        verdict: one of `VERDICTS`.
        cause: one word: what decided.
        share: how much of the way from chance to the floor the reference loss is at the end; None if chance is unknown.
        projected: the share at the end of the plan, if it goes on as in the second half of the rehearsal.
        steps_needed: steps to `TRAINED_SHARE` at that pace; infinite where it does not fall; None if unknown.
        multiple: median of the critical multiples after the first; None if none was measured.
    """

    verdict: str
    cause: str
    share: float | None = None
    projected: float | None = None
    steps_needed: float | None = None
    multiple: float | None = None


def judge_rehearsal(rehearsal: Rehearsal) -> Outlook:
    """Proposes a verdict.

    Args:
        rehearsal: with a reference loss; `task.chance` and `planned_steps` where they are known.

    Returns:
        The outlook; "cannot tell" where what was seen does not carry one.
    """
    decided = _certain(rehearsal)
    if decided is not None:
        return Outlook(verdict=decided[0], cause=decided[1], multiple=_typical_multiple(rehearsal))
    share, projected, needed = _pace(rehearsal)
    verdict, cause = _judge(rehearsal, share, projected, needed)
    return Outlook(
        verdict=verdict,
        cause=cause,
        share=share,
        projected=projected,
        steps_needed=needed,
        multiple=_typical_multiple(rehearsal),
    )


def _certain(rehearsal: Rehearsal) -> tuple[str, str] | None:
    """What is counted, and needs no threshold."""
    steps, reference, floor = rehearsal.steps, rehearsal.reference, rehearsal.task.floor
    if not steps:
        return CANNOT_TELL, "no_steps"
    if reference and not math.isfinite(reference[0].loss):
        return BROKEN_LOSS, "not_finite"
    if rehearsal.ended_by == "not finite" or any(not math.isfinite(seen.loss) for seen in reference):
        return UNSTABLE, "not_finite"
    if all(step.optimizer_steps == 0 for step in steps):
        return DEAD, "never_steps"
    if rehearsal.critical and all(step.update_norm == 0 for _, step in rehearsal.critical):
        return DEAD, "no_update"
    if floor is not None and any(seen.loss < floor - 1e-3 * (abs(floor) + 1) for seen in reference):
        return BROKEN_LOSS, "below_floor"
    if rehearsal.critical and all(_uphill(step) for _, step in rehearsal.critical) and _fall(reference) < 0:
        return BROKEN_LOSS, "uphill"
    return None


def _uphill(step: CriticalStep) -> bool:
    """The loss falls at no multiple of the update, and rises at one."""
    return step.lowest_loss >= step.loss_before - step.resolution and step.loss_after > step.loss_before + step.resolution


def _fall(reference: tuple[Observation, ...]) -> float:
    """By which share of its first value the reference loss has fallen."""
    first, last = reference[0].loss, reference[-1].loss
    return (first - last) / max(abs(first), 1e-30)


def _typical_multiple(rehearsal: Rehearsal) -> float | None:
    """Median after the first step: momentum and the averages of Adam have not filled at the first."""
    later = [step.multiple for _, step in rehearsal.critical[1:] if step.multiple is not None]
    found = sorted(later or [step.multiple for _, step in rehearsal.critical if step.multiple is not None])
    return found[len(found) // 2] if found else None


def _pace(rehearsal: Rehearsal) -> tuple[float | None, float | None, float | None]:
    """Share learned, the share projected to the end of the plan, and steps to a trained net."""
    task, reference = rehearsal.task, rehearsal.reference
    if task.chance is None or task.floor is None or not task.chance > task.floor or len(reference) < 2:
        return None, None, None
    room = task.chance - task.floor
    shares = [(seen.step, (task.chance - seen.loss) / room) for seen in reference]
    last_step, share = shares[-1]
    middle_step, middle = next((s, v) for s, v in reversed(shares) if s <= last_step / 2)
    pace = (share - middle) / (last_step - middle_step)
    needed = last_step + (TRAINED_SHARE - share) / pace if pace > 0 else math.inf
    needed = float(last_step) if share >= TRAINED_SHARE else needed
    planned = rehearsal.planned_steps
    projected = share + pace * (planned - last_step) if planned is not None else None
    return share, projected, needed


def _judge(rehearsal: Rehearsal, share: float | None, projected: float | None, needed: float | None) -> tuple[str, str]:
    task, last = rehearsal.task, rehearsal.reference[-1] if rehearsal.reference else None
    multiple = _typical_multiple(rehearsal)
    rates = [step.lr for step in rehearsal.steps if step.lr is not None]
    if share is None or last is None or task.floor is None or task.chance is None:
        return _without_chance(rehearsal, multiple)
    first = (task.chance - rehearsal.reference[0].loss) / (task.chance - task.floor)
    if first >= LEARNED_SHARE and share >= LEARNED_SHARE:
        return HAS_LEARNED, "at_start"
    if rates and rates[-1] < DEAD_RATE * max(rates) and share < TRAINED_SHARE:
        return STALLED, "rate_dies"
    if share >= LEARNING_SHARE:
        return (CAPPED, task.form) if task.form != "values" and task.floor > 0 else (WILL_TRAIN, "learning")
    spread = last.output_spread / max(last.output_rms or 0.0, 1e-30) if last.output_spread is not None else None
    if spread is not None and spread < COLLAPSED:
        return (DEAD, "collapsed") if multiple is None or multiple > SMALL_MULTIPLE else (UNSTABLE, "collapsed")
    if projected is not None and projected >= TRAINED_SHARE:
        return (WILL_TRAIN, "pace") if projected > 2 * TRAINED_SHARE else (CANNOT_TELL, "near_the_plan")
    if multiple is not None and multiple > LARGE_MULTIPLE:
        return TOO_SLOW, "pace"
    return CANNOT_TELL, "no_fall"


def _without_chance(rehearsal: Rehearsal, multiple: float | None) -> tuple[str, str]:
    """Only that the loss falls, and by how much."""
    if len(rehearsal.reference) < 2 or multiple is None:
        return CANNOT_TELL, "no_loss"
    if _fall(rehearsal.reference) > FALLING and SMALL_MULTIPLE <= multiple <= LARGE_MULTIPLE:
        return WILL_TRAIN, "falling"
    return CANNOT_TELL, "chance_unknown"
