"""What a rehearsal promises: a verdict from what was tried and measured, or none."""

import itertools
import math
from dataclasses import dataclass, replace

from trainability.doctor.other_rates import (
    COLLAPSED,
    MARGIN,
    TURBULENT,
    looks_ahead,
    next_scale,
    shares_of,
    trained_share,
    trials,
    typical_multiple,
)
from trainability.doctor.outlook_limits import (
    BEGUN_SHARE,
    BROKEN_LOSS,
    CANNOT_TELL,
    CAPPED,
    DEAD,
    DEAD_RATE,
    FALLEN,
    FALLING,
    FALLING_ON,
    FALLING_STEPS,
    FEWEST_OF_OPPONENTS,
    FEWEST_SETTLED,
    FORESEEN,
    GONE,
    HAS_LEARNED,
    LARGE_MULTIPLE,
    LATE_STEPS,
    LEARNED_SHARE,
    LEARNING_SHARE,
    LONGEST_ACCUMULATION,
    LOST_SHARE,
    NO_BETTER,
    NOWHERE,
    PROMISED_SHARE,
    RAN_AWAY,
    SET_ON_STEPS,
    SETTLED_LOSS,
    SHRUNK,
    SLOW_MULTIPLE,
    SLOW_SHARE,
    SMALL_MULTIPLE,
    STALLED,
    STANDING,
    SWING_SHARE,
    TOO_LONG,
    TOO_SLOW,
    TRAINED_SHARE,
    UNKNOWN_PLAN_STEPS,
    UNSTABLE,
    WARMING,
    WILL_TRAIN,
)
from trainability.doctor.rehearsed import Observation, Rehearsal
from trainability.doctor.tried_rates import by_trial, is_bounded


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
        return Outlook(verdict=decided[0], cause=decided[1], multiple=typical_multiple(rehearsal))
    share, pace = _pace(rehearsal)
    projected = None
    if share is not None and pace is not None and rehearsal.planned_steps is not None:
        projected = share + pace * (rehearsal.planned_steps - rehearsal.reference[-1].step)
    verdict, cause = _judge(rehearsal, share, projected, pace or 0.0)
    if rehearsal.other_rates and _is_open(verdict, cause) and trials(rehearsal):
        verdict, cause = by_trial(rehearsal, verdict, cause, projected)
    return Outlook(
        verdict=verdict,
        cause=cause,
        share=share,
        projected=projected,
        steps_needed=_steps_needed(rehearsal, verdict, share, pace),
        multiple=typical_multiple(rehearsal),
    )


def _steps_needed(rehearsal: Rehearsal, verdict: str, share: float | None, pace: float | None) -> float | None:
    """Steps to `TRAINED_SHARE`, where they can be told within a factor of 2: read off a forecast, or off a pace that trains.

    Own, five programs that were not said to train, trained for longer: their pace was off by more than 2 in three.
    """
    needed = _read_off(rehearsal, verdict, share, pace) if share is not None and pace is not None else None
    return needed if needed is not None and needed <= FORESEEN * rehearsal.reference[-1].step else None


def _read_off(rehearsal: Rehearsal, verdict: str, share: float, pace: float) -> float | None:
    multiple, (own, *_), wanted = typical_multiple(rehearsal) or 0.0, trials(rehearsal), trained_share(rehearsal.task)
    if share >= wanted:
        return own.reaches(wanted)
    if multiple < TURBULENT or _is_restless(rehearsal):
        return None
    seen, _ = looks_ahead(rehearsal, multiple)
    if seen is not None and seen.scale > 1:
        step = seen.reaches(wanted)
        return seen.scale * step if seen.steps[1] < step < math.inf else None  # not at once: between two looks
    return own.steps[-1] + (wanted - share) / pace if pace > 0 and verdict == WILL_TRAIN else None


def _certain(rehearsal: Rehearsal) -> tuple[str, str] | None:
    """What is counted, and needs no threshold."""
    steps, reference, floor = rehearsal.steps, rehearsal.reference, rehearsal.task.floor
    if not steps:
        return CANNOT_TELL, "no_steps"
    if reference and not math.isfinite(reference[0].loss):
        return BROKEN_LOSS, "not_finite"
    if rehearsal.ended_by == "not finite" or any(not math.isfinite(seen.loss) for seen in reference):
        return UNSTABLE, "not_finite"
    if all(step.optimizer_steps == 0 for step in steps) and all(seen.loss == reference[0].loss for seen in reference):
        return DEAD, "never_steps"  # a body that updates weights by hand has no optimizer, but its loss changes
    if rehearsal.critical and all(step.update_norm == 0 for _, step in rehearsal.critical):
        return DEAD, "no_update"
    if floor is not None and any(seen.loss < floor - 1e-3 * (abs(floor) + 1) for seen in reference):
        return BROKEN_LOSS, "below_floor"
    if goes_uphill(rehearsal):
        return BROKEN_LOSS, "uphill"
    if rehearsal.idle and len(steps) >= LONGEST_ACCUMULATION:
        return CANNOT_TELL, "idle"
    return None


def goes_uphill(rehearsal: Rehearsal) -> bool:
    """Whether the loss has risen, and rises along each update that was followed, however short the step.

    Where several optimizers step, also one that the body alone knows, or one of several does not, an update follows another
    loss than their sum; and where all gradients are zero, what the update follows is not this loss.
    """
    several = rehearsal.moves_others or rehearsal.idle or any(step.optimizer_steps > 1 for step in rehearsal.steps)
    if several or (rehearsal.steps and all(step.gradient_norm == 0 for step in rehearsal.steps)):
        return False
    followed = [step for _, step in rehearsal.critical]
    # Where the loss has blown up, one update may be followed from there, and be too long at any of the multiples.
    is_blown_up = not all(math.isfinite(step.loss) for step in rehearsal.steps if step.loss is not None)
    return (
        len(followed) >= (2 if is_blown_up else 1)
        and all(step.is_uphill for step in followed)
        and bool(rehearsal.reference)
        and _fall(rehearsal.reference) < 0
    )


def _fall(reference: tuple[Observation, ...]) -> float:
    """By which share of its first value the reference loss has fallen."""
    first, last = reference[0].loss, reference[-1].loss
    return (first - last) / max(abs(first), 1e-30)


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
    multiple = typical_multiple(rehearsal)
    shares = [value for _, value in _shares(rehearsal)]
    if share is None or len(shares) < 2:
        return _without_chance(rehearsal, multiple)
    rates = [step.lr for step in rehearsal.steps if step.lr is not None]
    if shares[0] >= LEARNED_SHARE and share >= LEARNED_SHARE:
        return HAS_LEARNED, "at_start"
    if rates and rates[-1] < DEAD_RATE * max(rates) and share < TRAINED_SHARE:
        return STALLED, "rate_dies"
    kept = share >= TRAINED_SHARE and share > 0.6 * max(shares)
    warms_up = bool(rates) and rates[-1] > WARMING * rates[0]
    if max(shares) > max(share, 0.0) + LOST_SHARE and not kept:
        # A schedule whose rate has risen may come down again, and a loss that is near chance has not run away.
        may_return = share >= LEARNING_SHARE or (warms_up and share > min(shares[0], 0.0) - MARGIN)
        return (CANNOT_TELL if may_return else UNSTABLE), "lost"
    last_multiple = rehearsal.critical[-1][1].multiple if rehearsal.critical else None
    if share < min(shares[0], 0.0) - 0.5 and last_multiple is not None and last_multiple < SMALL_MULTIPLE:
        return UNSTABLE, "rising"
    collapsed = _collapsed(rehearsal, share, projected, multiple)
    if collapsed is not None and not (warms_up and collapsed[0] == TOO_SLOW):
        return collapsed
    enough = projected >= PROMISED_SHARE if projected is not None else _in_ten_times(rehearsal) >= PROMISED_SHARE
    if share >= LEARNING_SHARE:
        if is_bounded(rehearsal):
            return CAPPED, rehearsal.task.form
        stays = share >= TRAINED_SHARE and share > max(shares) - MARGIN
        if enough or stays or (kept and (max(shares) > share + LOST_SHARE or (projected or 0.0) >= TRAINED_SHARE)):
            falls_back = not enough and share < PROMISED_SHARE and max(shares) > share + LOST_SHARE
            return (CANNOT_TELL, "restless") if falls_back or _is_restless(rehearsal) else (WILL_TRAIN, "learning")
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


def _is_restless(rehearsal: Rehearsal) -> bool:
    """Whether late steps are too long for the little that is learned, or for how much it swings."""
    shares, last = _shares(rehearsal), rehearsal.reference[-1].step
    late = [share for step, share in shares if step >= last / 2]
    multiples = [step.multiple for number, step in rehearsal.critical if number > last / 2 and step.multiple is not None]
    swing = max((before - after for before, after in itertools.pairwise(late)), default=0.0)
    overshoots = min(multiples, default=math.inf) < SMALL_MULTIPLE
    return overshoots and (late[-1] < PROMISED_SHARE or swing > SWING_SHARE)


def is_settled(rehearsal: Rehearsal) -> bool:
    """Whether more steps can be spared: half of the way is learned, nothing of it was lost, and no step was too long.

    Own, 775 programs: after 15, 30 and 60 steps, all of the 33, 54 and 82 that this is said of train.
    """
    shares = [share for _, share in _shares(rehearsal)]
    multiples = [step.multiple for _, step in rehearsal.critical[1:] if step.multiple is not None]
    if len(rehearsal.steps) < FEWEST_SETTLED or len(shares) < 2 or shares[-1] < LEARNED_SHARE:
        return False
    if not multiples or min(multiples) < SMALL_MULTIPLE:
        return False
    lost = max(before - after for before, after in itertools.pairwise(shares))
    return lost < SETTLED_LOSS and shares[-1] > max(shares) - MARGIN and judge_rehearsal(rehearsal).verdict == WILL_TRAIN


def is_enough(rehearsal: Rehearsal, *, seconds: float, plateau_steps: float | None = None) -> bool:
    """Whether a rehearsal may end: its answer is settled, or no answer is in reach.

    Args:
        rehearsal: so far, with the seconds that it took.
        seconds: that it may take in all.
        plateau_steps: predicted steps at chance level; where the time ends before they do, more steps say nothing about where
            the loss goes, and some are taken only for what is counted.
    """
    if is_settled(rehearsal):
        return True
    steps = len(rehearsal.steps)
    stepped = steps > 0 and all(step.optimizer_steps for step in rehearsal.steps)  # accumulation shows only later
    return plateau_steps is not None and stepped and steps * seconds < plateau_steps * rehearsal.seconds


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
        return _of_opponents(rehearsal)
    seen = rehearsal.reference
    if len(seen) < 2 or multiple is None:
        return CANNOT_TELL, "no_loss"
    middle = next(look for look in reversed(seen) if look.step <= seen[-1].step / 2)
    if _ran_away(seen) and multiple < SMALL_MULTIPLE:
        return UNSTABLE, "rising"
    is_loss = min(look.loss for look in seen) > 0  # what falls below zero has a floor that is not known, as a policy's has
    grows = seen[0].output_rms is None or (seen[-1].output_rms or 0.0) >= SHRUNK * seen[0].output_rms
    goes_on = seen[-1].step >= FALLING_STEPS and _fall(seen) > FALLING and _fall((middle, seen[-1])) > FALLING_ON
    falls = goes_on or _fall(seen) > FALLEN
    if is_loss and grows and falls and SMALL_MULTIPLE <= multiple <= LARGE_MULTIPLE:
        return (CANNOT_TELL, "at_constant") if _is_no_better(rehearsal) else (WILL_TRAIN, "falling")
    if is_loss and seen[-1].step >= FALLING_STEPS and _crawls(rehearsal, multiple):
        return TOO_SLOW, "pace"
    if rehearsal.constant_loss is not None:
        return CANNOT_TELL, "at_constant" if _is_no_better(rehearsal) else "no_fall"
    return CANNOT_TELL, "chance_unknown"


def _ran_away(seen: tuple[Observation, ...]) -> bool:
    """Whether all of the second half of the looks lies far above where the loss began."""
    first = seen[0].loss
    return all(look.loss - first > RAN_AWAY * abs(first) > 0 for look in seen[len(seen) // 2 :])


def _crawls(rehearsal: Rehearsal, multiple: float) -> bool:
    """Whether steps are far too small: the loss stands, or will by the plan's end have fallen by little at its present pace."""
    least = min(step.multiple for _, step in rehearsal.critical if step.multiple is not None)
    fall, steps = _fall(rehearsal.reference), rehearsal.reference[-1].step
    if least > LARGE_MULTIPLE * _longer(rehearsal) and abs(fall) < STANDING:
        return True
    planned = rehearsal.planned_steps
    steps_are_small = min(least, multiple) > SLOW_MULTIPLE * _longer(rehearsal)
    return planned is not None and steps_are_small and 0 <= fall * max(planned / steps, 1.0) < SLOW_SHARE


def _is_no_better(rehearsal: Rehearsal) -> bool:
    """Whether the last steps cost as much as one answer for every example does, however far the loss fell."""
    late = [step.loss for step in rehearsal.steps[-LATE_STEPS:] if step.loss is not None]
    return rehearsal.constant_loss is not None and bool(late) and sum(late) / len(late) > NO_BETTER * rehearsal.constant_loss


def _of_opponents(rehearsal: Rehearsal) -> tuple[str, str]:
    """Of losses against each other only what fails can be told: weights that cannot get anywhere, and those that are gone."""
    losses = [abs(step.loss) for step in rehearsal.steps if step.loss is not None]
    if not rehearsal.distances or len(losses) < FEWEST_OF_OPPONENTS:
        return CANNOT_TELL, "opposed"
    if max(rehearsal.distances) > GONE and losses[-1] > GONE * losses[0]:
        return UNSTABLE, "gone"
    stepping = all(step.optimizer_steps for step in rehearsal.steps)  # or an opponent's turn may come later
    longer = (rehearsal.planned_steps or UNKNOWN_PLAN_STEPS) / len(rehearsal.steps)
    if stepping and 0 < longer * max(rehearsal.distances) < NOWHERE:
        return TOO_SLOW, "nowhere"
    return CANNOT_TELL, "opposed"


def _is_open(verdict: str, cause: str) -> bool:
    """Whether other rates may say more."""
    return verdict in (TOO_SLOW, UNSTABLE, DEAD, STALLED, CANNOT_TELL) and cause != "rate_dies"


def wanted_scale(rehearsal: Rehearsal) -> float | None:
    """The learning rate to rehearse next, over the loop's own; None where none would tell more."""
    multiple = typical_multiple(rehearsal)
    own = judge_rehearsal(replace(rehearsal, other_rates=()))
    if multiple is None or _certain(rehearsal) is not None or not _is_open(own.verdict, own.cause) or not trials(rehearsal):
        return None
    smallest = min(step.multiple for _, step in rehearsal.critical if step.multiple is not None)
    return next_scale(rehearsal, multiple, 0.0 if own.verdict == UNSTABLE else min(smallest, multiple))
