"""The verdict in the tense of its loop: what "is training" has become when the loop has ended. Data only."""

from __future__ import annotations

from trainability.doctor.outlook_limits import HAS_LEARNED

IS_TRAINING = "is training"
STILL_TRAINING = "was still training when it ended"
LEARNED_SHARE = 0.25  # of the way from chance to zero: a loss that stays below it has learned


def in_tense(verdict: str, *, has_ended: bool, recent: float | None, chance: float | None) -> str:
    """Put a verdict into the tense of its loop; every view of a run takes its words from here.

    A loop that ended while its loss still fell has learned if the loss is as far below chance as one that has come to rest
    has to be; else it was still training.

    Args:
        verdict: of a diagnosis.
        has_ended: whether no process runs the loop any more, however it ended.
        recent: mean of the last losses; `None` with too few.
        chance: what knowing nothing costs in these losses; `None` where that is not known.

    Returns:
        The verdict; in place of "is training", where the loop has ended, one of the other two.
    """
    if verdict not in (IS_TRAINING, STILL_TRAINING):
        return verdict
    if not has_ended:
        return IS_TRAINING
    return HAS_LEARNED if is_far_below(recent, chance) else STILL_TRAINING


def is_far_below(recent: float | None, chance: float | None) -> bool:
    """Whether a loss is so far below chance that a model with it has learned."""
    return recent is not None and chance is not None and recent <= (1 - LEARNED_SHARE) * chance
