"""What a rehearsal promises: a verdict from what was tried and measured, or none.

Thresholds are set on the seeds below 1000 of `benchmarks/verdicts.py` and scored on others; its table says how often each
verdict is right.
"""

import math
from dataclasses import dataclass, replace

from trainability.doctor.other_rates import (
    COLLAPSED,
    FREE,
    HINTED,
    MARGIN,
    TURBULENT,
    failed_share,
    larger,
    learns,
    looks_ahead,
    next_scale,
    plan_scale,
    shares_of,
    smaller,
    trained_share,
    trials,
)
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
STILL, FAINT = 0.05, 0.02  # a share that is chance; a spread of the outputs over their size that is nearly none
STEADY = 1.5  # what the two halves of a rehearsal brought differs by less: the loss falls on a straight line
RISING, RISING_SHARE = 0.02, 0.2  # in the second half of a forecast, and of all that it rose: it is on its way
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
        steps_needed: steps to `TRAINED_SHARE`, or to its like of a text; None where they cannot be told.
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
    projected = None
    if share is not None and pace is not None and rehearsal.planned_steps is not None:
        projected = share + pace * (rehearsal.planned_steps - rehearsal.reference[-1].step)
    verdict, cause = _judge(rehearsal, share, projected, pace or 0.0)
    if rehearsal.other_rates and _is_open(verdict, cause) and trials(rehearsal):
        verdict, cause = _by_trial(rehearsal, verdict, cause, projected)
    return Outlook(
        verdict=verdict,
        cause=cause,
        share=share,
        projected=projected,
        steps_needed=_steps_needed(rehearsal, share, pace),
        multiple=_typical_multiple(rehearsal),
    )


def _steps_needed(rehearsal: Rehearsal, share: float | None, pace: float | None) -> float | None:
    """Steps to `TRAINED_SHARE`, where they can be told."""
    if share is None or pace is None:
        return None
    multiple, (own, *others), wanted = _typical_multiple(rehearsal) or 0.0, trials(rehearsal), trained_share(rehearsal.task)
    if share >= wanted:
        return own.reaches(wanted)
    if multiple < TURBULENT:
        return None
    if looks_ahead(rehearsal, multiple)[0] is not None:
        for trial in sorted(others, key=lambda trial: trial.scale):
            step = trial.reaches(wanted)
            if 1 < trial.scale <= multiple / FREE and trial.steps[1] < step < math.inf:  # not at once: between two looks
                return trial.scale * step
    middle = own.at(own.steps[-1] / 2)
    before, after = middle - own.shares[0], share - middle
    is_steady = after > 0 and 1 / STEADY <= before / after <= STEADY
    return own.steps[-1] + (wanted - share) / pace if pace > 0 and (share >= LEARNING_SHARE or is_steady) else None


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
    if goes_uphill(rehearsal):
        return BROKEN_LOSS, "uphill"
    return None


def goes_uphill(rehearsal: Rehearsal) -> bool:
    """Whether the loss has risen, and rises along each update that was followed, however short the step."""
    followed = [step for _, step in rehearsal.critical]
    return bool(followed) and all(map(_uphill, followed)) and bool(rehearsal.reference) and _fall(rehearsal.reference) < 0


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
    return shares_of(rehearsal, rehearsal.reference)


def _pace(rehearsal: Rehearsal) -> tuple[float | None, float | None]:
    """Share learned at the end, and how much was learned a step in the second half."""
    shares = _shares(rehearsal)
    if len(shares) < 2:
        return None, None
    last_step, share = shares[-1]
    middle_step, middle = next((s, v) for s, v in reversed(shares) if s <= last_step / 2)
    return share, (share - middle) / (last_step - middle_step)


def _judge(rehearsal: Rehearsal, share: float | None, projected: float | None, pace: float) -> tuple[str, str]:
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
        if _is_bounded(rehearsal):
            return CAPPED, rehearsal.task.form
        stays = share >= TRAINED_SHARE and share > max(shares) - MARGIN
        if enough or stays or (kept and (max(shares) > share + LOST_SHARE or (projected or 0.0) >= TRAINED_SHARE)):
            return WILL_TRAIN, "learning"
        return CANNOT_TELL, "near_the_plan"
    if share >= BEGUN_SHARE and enough and shares[len(shares) // 2] > 0:  # a fall from above chance may end at chance
        return WILL_TRAIN, "pace"
    if warms_up:
        return CANNOT_TELL, "warms_up"
    longer = _longer(rehearsal)
    if multiple is not None and multiple > LARGE_MULTIPLE * longer:
        return TOO_SLOW, "pace"
    if pace > 0 and projected is not None and projected < SLOW_SHARE and (multiple or 0.0) > SLOW_MULTIPLE * longer:
        return TOO_SLOW, "pace"
    return CANNOT_TELL, "no_fall"


def _longer(rehearsal: Rehearsal) -> float:
    """By how much the plan is longer than those that the thresholds of multiples were set on."""
    return max((rehearsal.planned_steps or UNKNOWN_PLAN_STEPS) / SET_ON_STEPS, 1.0)


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
        return (TOO_SLOW, "pace") if multiple > LARGE_MULTIPLE * _longer(rehearsal) else (CANNOT_TELL, "constant")
    unpromising = projected is not None and projected < SLOW_SHARE
    return (DEAD, "constant") if unpromising or multiple is None or multiple < 100 else (CANNOT_TELL, "constant")


def _without_chance(rehearsal: Rehearsal, multiple: float | None) -> tuple[str, str]:
    """Only that the loss falls, and by how much."""
    if rehearsal.opposed:
        return CANNOT_TELL, "opposed"
    if len(rehearsal.reference) < 2 or multiple is None:
        return CANNOT_TELL, "no_loss"
    if _fall(rehearsal.reference) > FALLING and SMALL_MULTIPLE <= multiple <= LARGE_MULTIPLE:
        return WILL_TRAIN, "falling"
    return CANNOT_TELL, "chance_unknown"


def _is_open(verdict: str, cause: str) -> bool:
    """Whether other rates may say more."""
    return verdict in (TOO_SLOW, UNSTABLE, DEAD, STALLED, CANNOT_TELL) and cause != "rate_dies"


def wanted_scale(rehearsal: Rehearsal) -> float | None:
    """The learning rate to rehearse next, over the loop's own; None where none would tell more."""
    multiple = _typical_multiple(rehearsal)
    own = judge_rehearsal(replace(rehearsal, other_rates=()))
    if multiple is None or _certain(rehearsal) is not None or not _is_open(own.verdict, own.cause) or not trials(rehearsal):
        return None
    smallest = min(step.multiple for _, step in rehearsal.critical if step.multiple is not None)
    return next_scale(rehearsal, multiple, 0.0 if own.verdict == UNSTABLE else min(smallest, multiple))


def _by_trial(rehearsal: Rehearsal, verdict: str, cause: str, projected: float | None) -> tuple[str, str]:
    """A verdict from what other rates did, where the rehearsal alone says: this one, or none."""
    multiple, (own, *others) = _typical_multiple(rehearsal) or 0.0, trials(rehearsal)
    seen, is_end = looks_ahead(rehearsal, multiple)
    if seen is not None and seen.end >= trained_share(rehearsal.task) + MARGIN:
        return (CAPPED, rehearsal.task.form) if _is_bounded(rehearsal) else (WILL_TRAIN, "forecast")
    if seen is not None and is_end and seen.end >= failed_share(rehearsal.task):
        return CANNOT_TELL, "near_the_plan"
    than, downs = seen or own, smaller(rehearsal)
    learning = [trial for trial in larger(rehearsal, multiple) if learns(trial, than)]
    up = any(trial.scale > plan_scale(rehearsal) for trial in learning)  # within the plan the loop's own rate may get there
    down = any(learns(trial, than) for trial in downs)
    turbulent = multiple < TURBULENT
    if seen is None or not is_end:
        flat = own.end < LEARNING_SHARE and (projected or 0.0) < SLOW_SHARE
        if verdict == UNSTABLE:
            return (DEAD, "no_rate") if cause == "collapsed" and downs and not learning and not down else (verdict, cause)
        if verdict == DEAD and learning and not up:
            return CANNOT_TELL, cause
        if not flat and verdict == CANNOT_TELL:
            return verdict, cause
        if down and (turbulent or not up):
            return UNSTABLE, "smaller_rate"
        return (TOO_SLOW, "larger_rate") if up and not turbulent else (verdict, cause)
    if max(*own.shares, *seen.shares) > max(seen.end, 0.0) + LOST_SHARE:
        return UNSTABLE, "lost"
    if up and not (down and turbulent):
        return TOO_SLOW, "larger_rate"
    if down:
        return UNSTABLE, "smaller_rate"
    if not downs:
        return verdict, cause
    rise = seen.end - seen.at(seen.steps[-1] / 2)
    went_on = any(math.isfinite(trial.end) for trial in larger(rehearsal, multiple))  # and did not get further
    if not went_on and not seen.is_constant and rise > max(RISING, RISING_SHARE * (seen.end - seen.shares[0])):
        return TOO_SLOW, "forecast"
    hinted = any(trial.end > max(than.end, 0.0) + HINTED for trial in others)
    faint = seen.spread is None or seen.spread < FAINT
    return (DEAD, "no_rate") if seen.is_constant or (seen.end < STILL and faint and not hinted) else (STALLED, "no_rate")


def _is_bounded(rehearsal: Rehearsal) -> bool:
    task = rehearsal.task
    return task.form != "values" and (task.floor or 0.0) > 0.1 * (task.chance or 0.0)


def sentence(rehearsal: Rehearsal, outlook: Outlook) -> str:
    """Why, in one sentence with its numbers."""
    steps = len(rehearsal.steps)
    losses = [seen.loss for seen in rehearsal.reference if math.isfinite(seen.loss)]
    parts = [f"{steps} rehearsed steps"]
    if losses:
        parts.append(f"took the loss on a fixed batch from {losses[0]:.4g} to {losses[-1]:.4g}")
    if rehearsal.task.chance is not None:
        parts.append(f"(chance {rehearsal.task.chance:.4g})")
    said = " ".join(parts) + (_of_other_rates(rehearsal, outlook.cause) or _BECAUSE.get(outlook.cause, ""))
    planned = f", {rehearsal.planned_steps:,} are planned" if rehearsal.planned_steps else ""
    if outlook.verdict == TOO_SLOW and outlook.steps_needed is not None:
        said += f"; about {outlook.steps_needed:,.0f} steps are needed{planned}"
    elif outlook.verdict == TOO_SLOW and outlook.cause == "pace" and outlook.multiple is not None:
        said += f"; the loss keeps falling along {outlook.multiple:,.0f} times each step"
    elif outlook.multiple is not None and outlook.verdict in (UNSTABLE, CANNOT_TELL):
        said += f"; a step {outlook.multiple:.2g} times as long would raise the loss"
    return said + (f"; {_WOULD_TELL.get(outlook.cause, _LONGER_RUN)} would tell" if outlook.verdict == CANNOT_TELL else "")


def _of_other_rates(rehearsal: Rehearsal, cause: str) -> str | None:
    """What they did, where they decided."""
    if cause not in ("forecast", "larger_rate", "smaller_rate", "no_rate") or not rehearsal.other_rates:
        return None
    scales, multiple = [rate.scale for rate in rehearsal.other_rates], _typical_multiple(rehearsal) or 0.0
    if cause == "no_rate":
        return f"; at {min(scales):g} to {max(scales):g} times its learning rate it does no better"
    ahead, _ = looks_ahead(rehearsal, multiple)
    of = {"forecast": [ahead] if ahead else [], "larger_rate": larger(rehearsal, multiple), "smaller_rate": smaller(rehearsal)}
    asked = [trial.scale for trial in of[cause]]
    rates = [rate for rate in rehearsal.other_rates if rate.scale in asked]
    if not rates:
        return None
    best = min(rates, key=lambda rate: rate.reference[-1].loss)
    seen = f"{best.reference[-1].step} steps at {best.scale:g} times the learning rate end at {best.reference[-1].loss:.4g}"
    return f"; {seen}" + (", as the plan will" if cause == "forecast" and looks_ahead(rehearsal, multiple)[1] else "")


_LONGER_RUN = "a longer run"
_WOULD_TELL = {
    "no_steps": "a rehearsal",
    "no_loss": "a reference loss",
    "warms_up": "a rehearsal beyond the warm-up",
    "chance_unknown": "a recognised loss and its targets",
}
_BECAUSE = {
    "not_finite": ", where it is not finite",
    "collapsed": "; the outputs no longer depend on the input",
    "constant": "; the outputs do not depend on the input",
    "no_update": "; no update was made",
    "uphill": "; the steps go uphill",
    "warms_up": "; the learning rate still rises, so its pace is not known",
    "at_start": "; the weights know the task already",
    "near_the_plan": "; whether the planned steps suffice is open",
    "chance_unknown": "; the loss of a model that has learned nothing is not known",
    "opposed": "; models with losses against each other are not judged by a loss: gradients, updates and whether everything is "
    "finite were checked",
}
