"""Inputs that are related to their own targets no more than to shuffled ones. No rule."""

import math
import statistics

from trainability.doctor import reading
from trainability.doctor.audit_results import Relation
from trainability.doctor.best_constant import AS_GOOD, comes_to_nothing, standing
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement, Severity

_FEWEST_STEPS = 100  # of a run whose sampled steps were compared
_LATE = 500  # steps by which relations in words and series, which are learned late, show
_PASSES, _STILL = 2, 0.93  # passes over the examples; of chance, above which nothing was learned
_FEWEST_AGAIN = 10  # repeated examples: the number of examples is then known within a third
RELATED = 3.5  # standard deviations; of 29 kinds of shuffled data the largest of up to nine views reached 4.1, two passed 3
_LITTLE, _FEW_ROWS = 2.0, 600  # standard deviations; rows, of which a weak relation shows no more than chance does
RELATED_BY_PLACE = 0.05  # share of the variance of targets that are images, beyond what another example's image explains
SURE = 8.0  # standard deviations: a relation this simple in validation exists in training too


def unrelated(evidence: Evidence) -> list[Finding]:
    """Inputs unrelated to their targets, by comparison with shuffled targets or by a linear probe."""
    facts, data, relation = reading.facts(evidence), evidence.data, evidence.relation
    cause = "targets belong to other inputs: one of the two was shuffled, sorted or shifted without the other"
    severity: Severity = "warning"
    remedy = "index inputs and targets with the same order, and look at ten pairs as the loader yields them"
    made = facts.made_relation if relation is None and reading.stands_still(evidence) else None
    if made is not None:
        relation = Relation(num_examples=made[0], z=made[1])
        cause = "the step computes a target that nothing in the model's input predicts"
        remedy = "call the model on the input that contains the target (the noisy example, not the clean one)"
    if relation is not None:
        if facts.all_given and evidence.rehearsal is not None and not evidence.rehearsal.task.target:
            return []  # points in space and time of an equation, say: neither tensor is what the other predicts
        # From a watched loop's sampled steps: it may compute targets, or use relations between two inputs.
        watched_alone = bool(evidence.steps) and evidence.data is None
        at = standing(evidence) if watched_alone else None
        memorised = watched_alone and reading.has_learned(evidence) and not (at is not None and at.is_no_better)
        too_soon = watched_alone and reading.num_steps(evidence) < _FEWEST_STEPS
        too_soon |= memorised and not _falls_late(evidence, relation)
        # The parity of some bits is also learned late, and generalises: that loop looks like one that memorises.
        is_open = (relation.mixed and not _no_better(evidence)) or (memorised and relation.whole) or relation.drawn_evenly
        if is_related(relation) or reading.carries_over(evidence) or too_soon or is_open or facts.unpaired:
            return []
        seen = f"inputs predict their own targets no better than shuffled ones ({relation.num_examples} examples compared)"
        if watched_alone:
            cause += "; or the target is newly drawn noise, not the noise in the input"
        seen += (
            "; the loss stood still for two or more passes over the examples, and fell as they were repeated"
            if memorised
            else ""
        )
        if relation.held_out_z is not None and relation.held_out_z >= SURE:
            seen += "; validation's inputs do"
        elif relation.wide or (made is None and _says_little(relation) and not memorised and not _failed_late(evidence)):
            severity = "hint"
        elif not relation.is_plain:  # the meaning of words and series is in their order, which few of the views see
            severity = "warning" if memorised or _failed_late(evidence) else "hint"
        name = "relation above shuffled ones"
        measured = Measurement(name=name, value=relation.z, unit="standard deviations", threshold=RELATED)
    else:
        if data is None or data.class_signal_z is None or data.class_signal_z >= 2 or reading.has_learned(evidence):
            return []
        seen = "a linear probe of coarse pixels cannot tell any class apart"
        cause = "labels do not belong to their images, or the images carry no information about them"
        measured = Measurement(name="probe above chance", value=data.class_signal_z, unit="standard errors", threshold=2.0)
    return [
        Finding(
            rule="shuffled_labels",
            code="shuffled_labels" if relation is None else "shuffled_labels.unrelated",
            severity=severity,
            seen=seen,
            measurements=(measured,),
            cause=cause,
            remedy=remedy,
            source="own" if relation is None else "distance correlation, Annals of Statistics 2007; own views of the inputs",
        )
    ]


def _says_little(relation: Relation) -> bool:
    """Whether inputs may say something of their targets that so few examples do not show."""
    return relation.z >= _LITTLE and relation.num_examples < _FEW_ROWS


def _failed_late(evidence: Evidence) -> bool:
    """Whether a run long enough for what is learned late is no better than one answer for all examples."""
    return reading.num_steps(evidence) >= _LATE and comes_to_nothing(evidence)


def _falls_late(evidence: Evidence, relation: Relation) -> bool:
    """Whether the loss began to fall only after 20 steps and two views of each example, so that it is memorised.

    A loss that learns a relation falls with the first examples, whether or not they are repeated.
    """
    size = _number_of_examples(*relation.seen) if relation.seen is not None else None
    at, level = standing(evidence), reading.chance_as_logged(evidence)
    level = at.cost if level is None and at is not None else level
    if size is None or level is None or not reading.started_at_zero(evidence):
        return False
    steps = evidence.finite_steps
    each = statistics.median(s.batch_size or 0 for s in evidence.samples) * steps[0].micro_batches if evidence.samples else 0
    still = [s for s in steps if s.step <= reading.WINDOW_STEPS or s.step * each <= _PASSES * size]
    windows = range(0, len(still), reading.WINDOW_STEPS)
    means = [statistics.fmean(s.loss for s in still[i : i + reading.WINDOW_STEPS]) for i in windows]
    # Where every step is given all examples, each is a pass, and few of them say nothing.
    return 0 < each < size and bool(means) and min(means) > _STILL * level


def _number_of_examples(seen: int, different: int) -> float | None:
    """Estimate the number of examples from how many of the draws were different; None if too few were repeated."""
    if seen - different < _FEWEST_AGAIN:
        return None
    least, most = float(different), float(seen) ** 2
    for _ in range(60):
        middle = (least + most) / 2
        least, most = (middle, most) if middle * -math.expm1(-seen / middle) < different else (least, middle)
    return least


def is_related(relation: Relation) -> bool:
    """Whether inputs go with their targets better than with shuffled ones."""
    return relation.z >= RELATED or _related_by_place(relation)


def _related_by_place(relation: Relation) -> bool:
    """For images as targets: whether a place's surroundings predict its target, and another example's do not."""
    if relation.local is None or relation.local_of_others is None:
        return False
    return relation.local - max(relation.local_of_others, 0.0) >= RELATED_BY_PLACE


def _no_better(evidence: Evidence) -> bool:
    """Whether 50 rehearsed steps or more got no lower than the best constant answer."""
    tried = evidence.rehearsal
    if tried is None or tried.task.chance is None or not tried.reference or tried.reference[-1].step < 50:
        return False
    return min(seen.loss for seen in tried.reference) >= AS_GOOD * tried.task.chance
