"""A `LambdaLR` whose function returns the rate itself, where it is to return a factor of the base rate. No rule."""

import math

from trainability.doctor import reading
from trainability.doctor.best_constant import standing
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.outlook_limits import FALLEN, LARGE_MULTIPLE, LEARNED_SHARE
from trainability.doctor.rate_choice import settings_of

_LARGEST_FACTOR = 0.02  # of a function that returns rates; one that returns factors gets to 1
_LARGEST_BASE = 0.1  # of a rate that is meant as one; 1.0 is what such a function asks for
_SQUARED = 1e-4  # a rate that is its own square, at most
_NO_ADAM_STARTS = 2e-5
_SHORT = 30.0  # along the steps at the largest rate the loss falls to so many times their length, or more


def rate_as_factor(evidence: Evidence) -> Finding | None:
    """Test whether the base rate is multiplied by what is a rate already.

    The function's largest value is the base rate itself; or base and value together are a rate at which no Adam trains from
    random weights, or one of which the rehearsed steps say so.
    """
    settings = settings_of(evidence)
    if settings is None or settings.largest_factor is None or not settings.base_lr:
        return None
    factor, base = settings.largest_factor, settings.base_lr
    if not 0 < factor <= _LARGEST_FACTOR or not base <= _LARGEST_BASE:
        return None
    rate, multiple = factor * base, _multiple_at(evidence, factor * base)
    squared = math.isclose(factor, base, rel_tol=0.01) and rate <= _SQUARED
    tiny = "Adam" in settings.name and rate <= _NO_ADAM_STARTS
    if (multiple is not None and multiple < _SHORT) or not (squared or tiny or (multiple or 0.0) > LARGE_MULTIPLE):
        return None
    return Finding(
        rule="rate_dies",
        code="rate_dies.factor",
        severity="hint" if _learns(evidence) else "warning",
        seen=f"the largest learning rate of the whole schedule is {rate:.2g}: LambdaLR multiplies the base rate, {base:g}, by "
        f"what its function returns, and that is never above {factor:.2g}",
        measurements=(
            Measurement(name="largest factor", value=factor, threshold=_LARGEST_FACTOR),
            Measurement(name="base rate", value=base, threshold=_LARGEST_BASE),
            Measurement(name="largest learning rate", value=rate, threshold=_SQUARED if squared else _NO_ADAM_STARTS),
        ),
        cause="the function of LambdaLR returns the learning rate itself; it has to return a factor of the base rate",
        remedy=f"{settings.name}(..., lr=1.0) in place of {base:g} as the base rate of this LambdaLR; or keep {base:g}, and "
        "divide what the function returns by its largest value, so that it comes to 1 after the warm-up",
        source="PyTorch, torch.optim.lr_scheduler.LambdaLR; own, read from the function",
    )


def _multiple_at(evidence: Evidence, rate: float) -> float | None:
    """The smallest critical step of the rehearsal, if its update had been made at that rate; None without one."""
    rehearsal = evidence.rehearsal
    if rehearsal is None:
        return None
    at = {step.step: step.lr for step in rehearsal.steps}
    found = [(step.multiple, at.get(number)) for number, step in rehearsal.critical if not step.is_uphill]
    return min((multiple * own / rate for multiple, own in found if multiple and own), default=None)


def _learns(evidence: Evidence) -> bool:
    """Whether the run is better than where it began and than one answer for all; before a run, whether the rehearsal is."""
    if evidence.steps:
        at = standing(evidence)
        return reading.has_learned(evidence) and (at is None or not at.is_no_better)
    looks = evidence.rehearsal.reference if evidence.rehearsal is not None else ()
    at_start = _share(evidence)
    return (len(looks) > 1 and looks[-1].loss < FALLEN * looks[0].loss) or (at_start is not None and at_start >= LEARNED_SHARE)


def _share(evidence: Evidence) -> float | None:
    """How far from chance to the floor the weights are before the first step; weights that were trained before are far."""
    rehearsal = evidence.rehearsal
    if rehearsal is None or not rehearsal.reference or rehearsal.task.chance is None:
        return None
    chance, floor = rehearsal.task.chance, rehearsal.task.floor or 0.0
    return (chance - rehearsal.reference[0].loss) / (chance - floor) if math.isfinite(floor) and chance > floor else None
