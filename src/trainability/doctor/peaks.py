"""What rehearsals of a whole schedule with smaller peaks say of its largest learning rate. Data only; no torch."""

import math
import statistics

from trainability.doctor.other_rates import COLLAPSED
from trainability.doctor.rehearsed import Observation, OtherRate, Rehearsal

SCALES = (1 / 2, 0.1, 0.01)
"""Of the peak. The first has to lose the net, as a warm-up of the run's own length bears more than one of 33 steps; a later one
has to learn. Own, some fifty sound schedules: none loses its net at a third, two of them do at the peak itself."""
NO_BETTER, LEARNED, EXPLODED = 0.98, 0.9, 2.0  # of what one answer for all costs


def level_of(rehearsal: Rehearsal) -> float | None:
    """What the best answer that is the same for all costs; the first loss where that is unknown; None of losses below zero."""
    known = rehearsal.task.chance if rehearsal.task.chance is not None else rehearsal.constant_loss
    level = known if known is not None else rehearsal.reference[0].loss if rehearsal.reference else math.nan
    return level if 0 < level < math.inf else None


def end_of(trial: OtherRate) -> float:
    """Median loss of the last fifth of its steps; infinite where one was not finite."""
    late = [look.loss for look in trial.reference if look.step >= 0.8 * trial.reference[-1].step]
    return statistics.median(late) if trial.ended_by != "not finite" and all(map(math.isfinite, late)) else math.inf


def is_lost(rehearsal: Rehearsal, trial: OtherRate) -> bool:
    """Whether a trial came past its peak and has a loss that is not finite, or none that is better than one answer for all.

    Answers have become alike, or the loss is far above that, at each look in the last third, where the rate has come down.
    """
    level, peak = level_of(rehearsal), rehearsal.late_peak
    if level is None or peak is None or not trial.reference:
        return False
    if trial.ended_by == "not finite":
        return True
    last = trial.reference[-1].step
    late = [look for look in trial.reference if look.step >= 2 / 3 * last]
    if last * trial.schedule_steps < 2 * peak.step or not all(look.loss >= NO_BETTER * level for look in late):
        return False
    return all(_is_alike(look) or look.loss > EXPLODED * level for look in late)


def learns(rehearsal: Rehearsal, trial: OtherRate) -> bool:
    """Whether a trial ends clearly below what one answer for all costs, and below its first loss."""
    level = level_of(rehearsal)
    if level is None or not trial.reference or _is_alike(trial.reference[-1]):
        return False
    return end_of(trial) < LEARNED * min(level, trial.reference[0].loss)


def _is_alike(look: Observation) -> bool:
    return look.output_spread is not None and look.output_spread < COLLAPSED * max(look.output_rms or 0.0, 1e-30)
