"""A verdict from what other learning rates did, where the rehearsal alone leaves it open."""

import itertools
import math

from trainability.doctor.other_rates import (
    HINTED,
    MARGIN,
    TURBULENT,
    Trial,
    failed_share,
    larger,
    learns,
    looks_ahead,
    plan_scale,
    smaller,
    trained_share,
    trials,
    typical_multiple,
)
from trainability.doctor.outlook_limits import (
    CANNOT_TELL,
    CAPPED,
    CLEAR,
    DEAD,
    EXPLODED,
    FAINT,
    LEARNING_SHARE,
    LOST_SHARE,
    RISING,
    RISING_SHARE,
    SLOW_MULTIPLE,
    SLOW_SHARE,
    SOON,
    SOON_IF_IT_SET_OFF,
    STALLED,
    STILL,
    TOO_SLOW,
    TRAINED_SHARE,
    UNKNOWN_PLAN_STEPS,
    UNSTABLE,
    WILL_TRAIN,
)
from trainability.doctor.rehearsed import Rehearsal, Task

_FEWEST_LOOKS = 10
_BEGUN = 0.005  # share learned: a constant that is fitted to a batch may be that much ahead


def by_trial(rehearsal: Rehearsal, verdict: str, cause: str, projected: float | None) -> tuple[str, str]:
    """A verdict from what other rates did, where the rehearsal alone says: this one, or none."""
    multiple, (own, *others) = typical_multiple(rehearsal) or 0.0, trials(rehearsal)
    seen, is_end = looks_ahead(rehearsal, multiple)
    if seen is not None and seen.end >= trained_share(rehearsal.task) + MARGIN:
        return (CAPPED, rehearsal.task.form) if is_bounded(rehearsal) else (WILL_TRAIN, "forecast")
    if seen is not None and is_end and (seen.end >= failed_share(rehearsal.task) or _rises_at_its_end(seen, rehearsal.task)):
        return CANNOT_TELL, "near_the_plan"
    than, downs = seen or own, smaller(rehearsal)
    learning = [trial for trial in larger(rehearsal, multiple) if learns(trial, than)]
    up = any(_needs_more(rehearsal, trial, multiple) for trial in learning)
    down = any(learns(trial, than) for trial in downs)
    turbulent = multiple < TURBULENT
    if seen is None or not is_end:
        flat = own.end < LEARNING_SHARE and (projected or 0.0) < SLOW_SHARE
        if verdict == UNSTABLE:
            no_rate = cause == "collapsed" and downs and not learning and not down
            return _unless_it_learns(rehearsal, DEAD, "no_rate") if no_rate else (verdict, cause)
        if verdict == DEAD and learning and not up:
            return CANNOT_TELL, cause
        if verdict == CANNOT_TELL and cause == "lost":
            return verdict, cause  # the rate has risen, and may fall again
        if not flat and verdict == CANNOT_TELL:
            exploded = own.end < min(own.shares[0], 0.0) - EXPLODED
            return (UNSTABLE, "smaller_rate") if exploded and down and turbulent else (verdict, cause)
        if down and (turbulent or not up):
            return UNSTABLE, "smaller_rate"
        if up and not turbulent:
            return TOO_SLOW, "larger_rate"
        if verdict == TOO_SLOW and larger(rehearsal, multiple) and all(trial.is_constant for trial in (own, *others)):
            verdict, cause = DEAD, "no_rate"
        if verdict == DEAD and own.end < -TRAINED_SHARE:
            verdict = STALLED  # far above chance, which it may yet come down to
        return _unless_it_learns(rehearsal, verdict, cause)
    # Losing it at a larger rate predicts the end of a planned run; with no plan, only the program's own rate counts.
    is_lost = max(*own.shares, *seen.shares) > max(seen.end, seen.shares[-1], 0.0) + LOST_SHARE
    if is_lost and (rehearsal.planned_steps is not None or max(own.shares) > own.end + LOST_SHARE):
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
    answers = any((trial.spread or 0.0) > CLEAR and trial.end > -STILL for trial in larger(rehearsal, multiple))
    hinted = answers or any(trial.end > max(than.end, 0.0) + HINTED for trial in others)
    faint = seen.spread is None or seen.spread < FAINT
    dead = -TRAINED_SHARE < seen.end < STILL and faint and not hinted  # near chance, and nothing answers to the input
    return _unless_it_learns(rehearsal, DEAD if dead else STALLED, "no_rate")


def _needs_more(rehearsal: Rehearsal, trial: Trial, multiple: float) -> bool:
    """Whether what a larger rate learns takes the loop's own more than the plan: n steps at c times the rate are c n.

    Of a plan of unknown length more than `UNKNOWN_PLAN_STEPS`, and of steps that are small: a loss may stand at chance for ten
    epochs before it falls, as of parities, though its steps are of a usual size, and a larger rate then shows that it will.
    Own: multiples of 13 to 65 at three parities of 12 bits that train, of 6,000 and more at rates a hundred times too small.
    """
    if trial.scale <= plan_scale(rehearsal):
        return False
    own_steps = trial.scale * trial.reaches(trained_share(rehearsal.task))
    return rehearsal.planned_steps is not None or (multiple > SLOW_MULTIPLE and own_steps > UNKNOWN_PLAN_STEPS)


def _unless_it_learns(rehearsal: Rehearsal, verdict: str, cause: str) -> tuple[str, str]:
    """What can learn at some rate, though it does not keep it, is not said to be dead or stalled.

    In a run of unknown length, a loss at chance is not called stalled, since relations between inputs are learned late at any
    rate, and one already below the best constant answer is not called dead.
    """
    can_learn = any(max(trial.shares) >= TRAINED_SHARE for trial in trials(rehearsal))
    if can_learn and verdict in (DEAD, STALLED):
        return CANNOT_TELL, "not_kept"
    own, is_unplanned = trials(rehearsal)[0], rehearsal.planned_steps is None
    waits = is_unplanned and own.end >= -TRAINED_SHARE
    is_open = waits or _comes_down(rehearsal) or _falls_at_every_look(rehearsal)
    has_begun = verdict == DEAD and is_unplanned and own.shares[-1] > max(own.shares[0], _BEGUN)
    return (CANNOT_TELL, "no_fall") if has_begun or (verdict == STALLED and is_open) else (verdict, cause)


def _falls_at_every_look(rehearsal: Rehearsal) -> bool:
    """Whether a rehearsal of unknown plan fell at each of ten looks or more, to below chance, so that it does not stand still.

    Clicks or returns are predictable only by a few hundredths of the way, and embeddings learn that row by row.
    """
    shares = trials(rehearsal)[0].shares
    rises = all(before < after for before, after in itertools.pairwise(shares))
    return rehearsal.planned_steps is None and len(shares) > _FEWEST_LOOKS and rises and shares[-1] > 0


def _comes_down(rehearsal: Rehearsal) -> bool:
    """Whether a run of unknown length falls at its own rate from far above chance, and at this pace comes to it.

    No other rate stands for a longer run there: of a table of names, each row is changed by its own few examples alone.
    """
    own = trials(rehearsal)[0]
    middle = own.at(own.steps[-1] / 2)
    pace = (own.end - middle) / (own.steps[-1] / 2)
    is_far_above = own.shares[0] < middle < own.end < -TRAINED_SHARE
    return rehearsal.planned_steps is None and is_far_above and own.end + pace * UNKNOWN_PLAN_STEPS > 0


def _rises_at_its_end(seen: Trial, task: Task) -> bool:
    """Whether a forecast gets there soon after the plan's end: at the pace of its last tenth, or where it has just set off."""
    nine_tenths, eight_tenths = seen.at(0.9 * seen.steps[-1]), seen.at(0.8 * seen.steps[-1])
    pace = seen.shares[-1] - nine_tenths
    tenths = SOON_IF_IT_SET_OFF if pace > 2 * (nine_tenths - eight_tenths) else SOON
    return pace > 0 and seen.shares[-1] + tenths * pace >= trained_share(task)


def is_bounded(rehearsal: Rehearsal) -> bool:
    task = rehearsal.task
    return task.form != "values" and (task.floor or 0.0) > 0.1 * (task.chance or 0.0)
