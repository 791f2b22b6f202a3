"""The verdict on a run that is watched: "is training" needs a fall that goes on. No rule."""

import math
import statistics

from trainability.doctor import reading
from trainability.doctor.best_constant import AS_GOOD, Standing, comes_to_nothing, standing, still_falls
from trainability.doctor.diagnosis import Verdict
from trainability.doctor.evidence import Evidence
from trainability.doctor.rules.opposed import why_no_loss_tells
from trainability.doctor.rules.watched_validation import contradicted
from trainability.doctor.tense import is_far_below

Said = tuple[Verdict, str, float | None]

_SETTLED_STEPS = 300  # before that many, a loss that stands still may be a slow start
_FEWEST_OF_A_MEAN = 3
_LEAST_FALL = 0.002  # of the loss


def verdict_during(evidence: Evidence, untrained: str | None) -> Said:
    """Judge a run by its losses.

    Args:
        evidence: with steps.
        untrained: a finding that says that the fall of the loss is not what is wanted; None without one.
    """
    if (why := why_no_loss_tells(evidence)) is not None:
        return "cannot tell", why, None
    plateau = evidence.probe.plateau_steps if evidence.probe is not None and evidence.probe.at_start else None
    recent, steps, trend = reading.recent_loss(evidence), reading.num_steps(evidence), reading.trend(evidence)
    if reading.has_learned(evidence):
        assert recent is not None
        seen = f"the loss is down to {_shown(recent)} after {steps:,} steps"
        if untrained is not None:
            return "cannot tell", f"{seen}, but {untrained}", None
        if (told := contradicted(evidence)) is not None:
            return "cannot tell", f"{seen}, but {told}", None
        if trend == "rising":
            return "cannot tell", f"{seen}, and rises again", None
        at = standing(evidence)
        if at is not None and at.is_no_better:
            return _at_constant(evidence, seen, at)
        if trend == "flat":
            return _flat(evidence, recent, seen, at)
        known = _level(evidence, at)
        level = f"; {known[1]} {known[0]:.3g}" if known is not None else f"; {_UNKNOWN}"
        return "is training", f"{seen}, and still falls{level}" if trend == "falling" else seen, None
    if untrained is not None:
        return "cannot tell", f"{fall(evidence) or _num(steps)}, but {untrained}", None
    if plateau is not None and math.isfinite(plateau) and steps < 2 * plateau:
        left = max(plateau - steps, 0.0)
        return "slow start", f"{steps} steps at chance, about {plateau:,.0f} were predicted", left
    if trend == "rising":
        return "cannot tell", f"the loss rises over {steps} steps", None
    if (seen := fall(evidence)) is not None:
        return "cannot tell", f"{seen}{_what_would_tell(evidence)}", None
    return "cannot tell", f"{_num(steps)}{_went(evidence)}", None


def fall(evidence: Evidence) -> str | None:
    """Say how far the loss of a run has fallen; None where it has not, by three standard errors and 0.2 %.

    A fall within the first steps is no noise: where their ranks tell them from the last ones, the spread does not count.
    """
    size = _size_of_means(evidence)
    if size < _FEWEST_OF_A_MEAN:
        return None
    first, last = _ends(evidence, size)
    begun, now = statistics.fmean(first), statistics.fmean(last)
    error = math.sqrt((statistics.pvariance(first) + statistics.pvariance(last)) / size)
    if begun - now <= _LEAST_FALL * abs(now) or (begun - now <= 3 * error and not _are_above(first, last)):
        return None
    by, steps = reading.loss_divisor(evidence), reading.num_steps(evidence)
    return f"the loss is down to {_shown(by * now)} after {steps:,} steps, from {_shown(by * begun)} (means of {size} steps)"


def _size_of_means(evidence: Evidence) -> int:
    return min(reading.WINDOW_STEPS, len(evidence.finite_steps) // 2)


def _ends(evidence: Evidence, size: int) -> tuple[list[float], list[float]]:
    """So many of the first losses, and of the last."""
    losses = [step.loss for step in evidence.finite_steps]
    return losses[:size], losses[-size:]


def _are_above(first: list[float], last: list[float]) -> bool:
    """Whether ranks tell losses from later ones by three standard deviations (Mann and Whitney's test, as many of each)."""
    wins, size = sum((a > b) + (a == b) / 2 for a in first for b in last), len(first)
    return wins - size**2 / 2 > 3 * size * math.sqrt((2 * size + 1) / 12)


def _went(evidence: Evidence) -> str:
    """Where a loss went of which no fall is sure: it is said to have not fallen only where it is no lower now."""
    size = _size_of_means(evidence)
    is_mean = size >= _FEWEST_OF_A_MEAN
    first, last = _ends(evidence, size if is_mean else 1)
    begun, now = statistics.fmean(first or [math.nan]), statistics.fmean(last or [math.nan])
    if not begun - now > _LEAST_FALL * abs(now):
        return ", and the loss has not fallen yet"
    by = reading.loss_divisor(evidence)
    of = f"means of {size} steps" if is_mean else "first and last step"
    return f", and the loss went from {_shown(by * begun)} to {_shown(by * now)} ({of}){_what_would_tell(evidence)}"


def falls_below_a_constant(evidence: Evidence) -> bool:
    """Whether a run's loss is finite, has fallen by a tenth, rises no more, and is not known to be that of one constant answer.

    What keeps a part from being trained does not keep the rest from learning.
    """
    steps = [step for step in evidence.steps if not step.skipped]
    if not steps or not math.isfinite(steps[-1].loss) or not reading.has_learned(evidence) or comes_to_nothing(evidence):
        return False
    return why_no_loss_tells(evidence) is None and reading.trend(evidence) != "rising" and fall(evidence) is not None


def _at_constant(evidence: Evidence, seen: str, at: Standing) -> Said:
    """A loss that is no lower than that of one answer for all."""
    seen += f", and {at.name}, whatever the input, costs {at.cost:.3g}"
    falls = still_falls(evidence)
    if falls or reading.num_steps(evidence) < _SETTLED_STEPS:
        so_far = "; it still falls" if falls else ""
        return "cannot tell", f"{seen}{so_far}; a loss below {AS_GOOD * at.cost:.3g} would tell", None
    return "stalled", seen, None


def _flat(evidence: Evidence, recent: float, seen: str, at: Standing | None) -> Said:
    known = _level(evidence, at)
    if known is None:
        graph = reading.facts(evidence).graph
        has_classes = graph is not None and graph.takes in ("log_softmax", "nll")
        tells = "num_classes= tells it" if has_classes else "`trainability check` measures it before the run"
        return "cannot tell", f"{seen} and stays there; {_UNKNOWN}: {tells}", None
    if is_far_below(recent, known[0]):
        return "has learned", f"{seen} and stays there", None
    # Below what knowing nothing costs it has learned something, and noise or a divergence may be all that is left.
    return "cannot tell", f"{seen} and stays there; {known[1]} {known[0]:.3g}; {_REST_UNKNOWN}", None


_UNKNOWN = "the loss of a model that has learned nothing is not known"
_REST_UNKNOWN = "how low it can get is not known, and a score on held-out examples would tell"
_CHANCE = "chance, the logarithm of the number of classes, is"


def _level(evidence: Evidence, at: Standing | None) -> tuple[float, str] | None:
    """What a model that has learned nothing costs, and the words before that number; None where it is not known."""
    chance = reading.chance_as_summed(evidence)
    if chance is not None:
        return chance, _CHANCE
    return (at.cost, f"{at.name}, whatever the input, costs") if at is not None else None


def _what_would_tell(evidence: Evidence) -> str:
    """The loss from which on a run counts as one that learns; see `reading.has_learned`."""
    chance, divisor = reading.chance_as_summed(evidence), reading.loss_divisor(evidence)
    first = divisor * statistics.fmean(step.loss for step in evidence.finite_steps[:5])
    if reading.num_steps(evidence) < 2 * reading.WINDOW_STEPS:
        is_over = evidence.is_complete and not reading.facts(evidence).was_stopped
        return "" if is_over else f"; {2 * reading.WINDOW_STEPS} steps would tell more"
    if chance is None:
        return f"; a loss below {reading.LEARNED * first:.3g}, nine tenths of the first, would tell" if first > 0 else ""
    limit = reading.LEARNED * (min(first, chance) if reading.started_at_zero(evidence) else chance)
    return f"; {_CHANCE} {chance:.3g}, and a loss below {limit:.3g} would tell"


def _shown(loss: float) -> str:
    return f"{loss:.3f}" if 1e-3 <= loss < 1e4 else f"{loss:.3g}"


def _num(steps: int) -> str:
    return f"{steps:,} {'step' if steps == 1 else 'steps'}"
