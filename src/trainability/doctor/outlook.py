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
BEGUN_SHARE = 0.03  # below it, a fall is one towards chance, and may end there
PROMISED_SHARE = 0.4  # projected by what was seen, before "will train" is said: the pace slackens
LEARNED_SHARE = 0.5  # at the start: weights that know the task
LOST_SHARE = 0.1  # of what had been learned, and is gone
COLLAPSED = 1e-3  # spread of the outputs over their size: below, no answer depends on the input
SLOW_SHARE, SLOW_MULTIPLE = 0.15, 170.0  # projected share below the one with multiples above the other: orders of magnitude
FALLING = 0.04  # fall of the loss where chance is unknown; own: 19 of 23 programs that train fell by 4 % in 30 steps
SMALL_MULTIPLE, LARGE_MULTIPLE = 1.0, 3e3  # own, 43 small programs: healthy ones 1 to 1,000
# Both were set on runs of 300 steps. A plateau that ends within a longer plan has larger multiples: exclusive or with sigmoids,
# 730 to 2,500 for a plateau of some thousand steps. Of a plan of unknown length, only what lies far above them is too slow.
SET_ON_STEPS, UNKNOWN_PLAN_STEPS = 300, 3000
WARMING = 1.5  # a rate that grew by this within the rehearsal: what it will do is not seen yet
TOO_LONG = 2.0  # a step with a multiple near 1 or below was too long
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
    """Propose a verdict.

    Args:
        rehearsal: with a reference loss; `task.chance` and `planned_steps` where they are known.

    Returns:
        The outlook; "cannot tell" where what was seen does not carry one.
    """
    decided = _certain(rehearsal)
    if decided is not None:
        return Outlook(verdict=decided[0], cause=decided[1], multiple=_typical_multiple(rehearsal))
    share, pace = _pace(rehearsal)
    last_step = rehearsal.reference[-1].step if rehearsal.reference else 0
    projected = needed = None
    if share is not None and pace is not None:
        planned = rehearsal.planned_steps
        projected = share + pace * (planned - last_step) if planned is not None else None
        needed = last_step + max(TRAINED_SHARE - share, 0.0) / pace if pace > 0 else math.inf
        needed = float(last_step) if share >= TRAINED_SHARE else needed
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


def _shares(rehearsal: Rehearsal) -> list[tuple[int, float]]:
    """Steps and shares learned; empty where chance or floor are unknown."""
    task = rehearsal.task
    if task.chance is None or task.floor is None or not math.isfinite(task.floor) or not task.chance > task.floor:
        return []
    return [(seen.step, (task.chance - seen.loss) / (task.chance - task.floor)) for seen in rehearsal.reference]


def _pace(rehearsal: Rehearsal) -> tuple[float | None, float | None]:
    """Share learned at the end, and how much was learned a step in the second half."""
    shares = _shares(rehearsal)
    if len(shares) < 2:
        return None, None
    last_step, share = shares[-1]
    middle_step, middle = next((s, v) for s, v in reversed(shares) if s <= last_step / 2)
    return share, (share - middle) / (last_step - middle_step)


def _judge(rehearsal: Rehearsal, share: float | None, projected: float | None, needed: float | None) -> tuple[str, str]:
    multiple = _typical_multiple(rehearsal)
    shares = [value for _, value in _shares(rehearsal)]
    if share is None or len(shares) < 2:
        return _without_chance(rehearsal, multiple)
    rates = [step.lr for step in rehearsal.steps if step.lr is not None]
    if shares[0] >= LEARNED_SHARE and share >= LEARNED_SHARE:
        return HAS_LEARNED, "at_start"
    if rates and rates[-1] < DEAD_RATE * max(rates) and share < TRAINED_SHARE:
        return STALLED, "rate_dies"
    kept = share >= TRAINED_SHARE and share > 0.6 * max(shares)
    if max(shares) > max(share, 0.0) + LOST_SHARE and not kept:
        return (UNSTABLE, "lost") if share < LEARNING_SHARE else (CANNOT_TELL, "lost")
    last_multiple = rehearsal.critical[-1][1].multiple if rehearsal.critical else None
    if share < min(shares[0], 0.0) - 0.5 and last_multiple is not None and last_multiple < SMALL_MULTIPLE:
        return UNSTABLE, "rising"
    warms_up = bool(rates) and rates[-1] > WARMING * rates[0]
    collapsed = _collapsed(rehearsal, share, projected, multiple)
    if collapsed is not None and not (warms_up and collapsed[0] == TOO_SLOW):
        return collapsed
    enough = projected >= PROMISED_SHARE if projected is not None else _in_ten_times(rehearsal) >= PROMISED_SHARE
    if share >= LEARNING_SHARE:
        if rehearsal.task.form != "values" and (rehearsal.task.floor or 0.0) > 0.1 * (rehearsal.task.chance or 0.0):
            return CAPPED, rehearsal.task.form
        if enough or (kept and (max(shares) > share + LOST_SHARE or (projected or 0.0) >= TRAINED_SHARE)):
            return WILL_TRAIN, "learning"
        return CANNOT_TELL, "near_the_plan"
    if share >= BEGUN_SHARE and enough and shares[len(shares) // 2] > 0:  # a fall from above chance may end at chance
        return WILL_TRAIN, "pace"
    if warms_up:
        return CANNOT_TELL, "warms_up"
    longer = max((rehearsal.planned_steps or UNKNOWN_PLAN_STEPS) / SET_ON_STEPS, 1.0)
    if multiple is not None and multiple > LARGE_MULTIPLE * longer:
        return TOO_SLOW, "pace"
    falls = needed is not None and math.isfinite(needed)
    if falls and projected is not None and projected < SLOW_SHARE and (multiple or 0.0) > SLOW_MULTIPLE * longer:
        return TOO_SLOW, "pace"
    return CANNOT_TELL, "no_fall"


def _in_ten_times(rehearsal: Rehearsal) -> float:
    """Share learned if it goes on for ten times as long: what can be asked of a run whose length is not known."""
    share, pace = _pace(rehearsal)
    return (share or 0.0) + 9 * rehearsal.reference[-1].step * (pace or 0.0)


def _collapsed(rehearsal: Rehearsal, share: float, projected: float | None, multiple: float | None) -> tuple[str, str] | None:
    """Where the outputs do not depend on the input: what became of them, and whether they ever did."""
    spreads = [
        seen.output_spread / max(seen.output_rms or 0.0, 1e-30)
        for seen in rehearsal.reference
        if seen.output_spread is not None
    ]
    if not spreads or spreads[-1] >= COLLAPSED or share >= LEARNING_SHARE:
        return None
    multiples = [step.multiple for _, step in rehearsal.critical if step.multiple is not None]
    if spreads[0] >= COLLAPSED and multiples and min(multiples) < TOO_LONG:
        return UNSTABLE, "collapsed"
    if multiple is not None and multiple > LARGE_MULTIPLE:
        return TOO_SLOW, "pace"
    unpromising = projected is not None and projected < SLOW_SHARE
    return (DEAD, "constant") if unpromising or multiple is None or multiple < 100 else (CANNOT_TELL, "constant")


def _without_chance(rehearsal: Rehearsal, multiple: float | None) -> tuple[str, str]:
    """Only that the loss falls, and by how much."""
    if len(rehearsal.reference) < 2 or multiple is None:
        return CANNOT_TELL, "no_loss"
    if _fall(rehearsal.reference) > FALLING and SMALL_MULTIPLE <= multiple <= LARGE_MULTIPLE:
        return WILL_TRAIN, "falling"
    return CANNOT_TELL, "chance_unknown"


def sentence(rehearsal: Rehearsal, outlook: Outlook) -> str:
    """Why, in one sentence with its numbers."""
    steps = len(rehearsal.steps)
    losses = [seen.loss for seen in rehearsal.reference if math.isfinite(seen.loss)]
    parts = [f"{steps} rehearsed steps"]
    if losses:
        parts.append(f"took the loss on a fixed batch from {losses[0]:.4g} to {losses[-1]:.4g}")
    if rehearsal.task.chance is not None:
        parts.append(f"(chance {rehearsal.task.chance:.4g})")
    said = " ".join(parts) + _BECAUSE.get(outlook.cause, "")
    if outlook.verdict == TOO_SLOW:
        needed, planned = outlook.steps_needed, rehearsal.planned_steps
        if needed is not None and math.isfinite(needed):
            said += f"; at this pace about {needed:,.0f} steps are needed" + (f", {planned:,} are planned" if planned else "")
        elif outlook.multiple is not None:
            said += f"; the loss keeps falling along {outlook.multiple:,.0f} times each step"
    elif outlook.multiple is not None and outlook.verdict in (UNSTABLE, CANNOT_TELL):
        said += f"; the loss rises beyond {outlook.multiple:.2g} times a step"
    return said


_BECAUSE = {
    "not_finite": ", where it is not finite",
    "collapsed": "; the outputs no longer depend on the input",
    "constant": "; the outputs do not depend on the input",
    "no_update": "; no update was made",
    "uphill": "; the steps go uphill",
    "warms_up": "; the learning rate still rises, so its pace is not known",
    "at_start": "; the weights know the task already",
    "near_the_plan": "; whether the planned steps suffice is open",
    "chance_unknown": "; what chance costs is not known",
}
