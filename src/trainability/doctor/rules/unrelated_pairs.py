"""Pairs of two inputs that have nothing to do with each other, under a loss that has nothing else to learn. No rule."""

import statistics

from trainability.doctor import reading
from trainability.doctor.best_constant import best_constant
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.outlook_limits import LATE_STEPS, NO_BETTER
from trainability.doctor.pair_facts import PairRelation
from trainability.doctor.reading import WINDOW_STEPS
from trainability.doctor.rules.unrelated import RELATED, SURE

_FEWEST_REHEARSED, _FEWEST_STEPS = 50, 100
_STILL = 0.93  # of what the same score for all pairs costs


def unrelated_pairs(evidence: Evidence) -> list[Finding]:
    """Pairs whose halves were shuffled apart: they are related no more than shuffled pairs, and no step shows otherwise."""
    found = reading.facts(evidence).pair_relation
    if found is None or found.z >= RELATED or not _learns_nothing(evidence, found):
        return []
    others = found.held_out_z is not None and found.held_out_z >= SURE
    seen = (
        f"the loss compares batch{found.one} and batch{found.other} in pairs, and the two halves of a pair are related no more "
        f"strongly than those of shuffled pairs ({found.num_examples} examples compared)"
    )
    return [
        Finding(
            rule="shuffled_labels",
            code="shuffled_labels.pairs",
            severity="warning" if others or found.is_plain else "hint",
            seen=seen + ("; in validation they are" if others else "") + _since(evidence),
            measurements=(
                Measurement(name="relation above shuffled pairs", value=found.z, unit="standard deviations", threshold=RELATED),
                *(
                    [Measurement(name="the same in validation", value=found.held_out_z or 0.0, unit="standard deviations")]
                    if found.held_out_z is not None
                    else []
                ),
            ),
            cause="the two halves of each pair belong to different examples: one was shuffled, sorted or shifted without "
            "the other",
            remedy="index both halves with the same order, order = rng.permutation(n); one[order], other[order], and look at "
            "ten pairs as the loader yields them",
            source="distance correlation, Annals of Statistics 2007; own views of the inputs",
        )
    ]


def _learns_nothing(evidence: Evidence, found: PairRelation) -> bool:
    """Whether the loss was no lower than with one score for all pairs, as long as examples were new.

    Pairs that have nothing to do with each other are memorised as they come again.
    """
    if not evidence.steps:
        rehearsal = evidence.rehearsal
        losses = [step.loss for step in rehearsal.steps if step.loss is not None] if rehearsal is not None else []
        cost = _cost(evidence, found)
        if cost is None or len(losses) < _FEWEST_REHEARSED:
            return False
        return statistics.fmean(losses[-LATE_STEPS:]) > NO_BETTER * cost
    cost, first = _cost(evidence, found), max(found.num_batches or 0, 2 * WINDOW_STEPS)
    if cost is None or reading.num_steps(evidence) < _FEWEST_STEPS or not reading.started_at_zero(evidence):
        return False
    losses = [step.loss for step in evidence.finite_steps if step.step <= first]
    means = [statistics.fmean(losses[i : i + WINDOW_STEPS]) for i in range(0, len(losses) - WINDOW_STEPS + 1, WINDOW_STEPS)]
    return bool(means) and min(means) > _STILL * cost and not reading.carries_over(evidence)


def _cost(evidence: Evidence, found: PairRelation) -> float | None:
    """What it costs to score all pairs alike."""
    known = best_constant(evidence)
    return known[0] if known is not None else reading.chance_as_logged(evidence) or found.constant_loss


def _since(evidence: Evidence) -> str:
    if not evidence.steps:
        return "; no rehearsed step brings the loss below what one score for all pairs costs"
    return "; the loss fell only once pairs came again" if reading.has_learned(evidence) else ""
