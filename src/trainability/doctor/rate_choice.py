"""The learning rate to propose: from the critical step at the start, then from rates that were tried. Data only; no torch.

Rates are proposed on a grid of two per decade, 1 and 3 times a power of ten, so that the rate that is printed is one that was
tried.
"""

import math
from dataclasses import dataclass

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence, OptimizerSettings
from trainability.doctor.other_rates import shares_of
from trainability.doctor.outlook import judge_rehearsal
from trainability.doctor.outlook_limits import UNSTABLE, WARMING
from trainability.doctor.rehearsed import OtherRate, Rehearsal

BELOW_CRITICAL = 12.0
"""How far below the critical rate of the first step a rate is proposed. In programs of `benchmarks/faults.py` whose fault is
their rate, the sound twin's lies 5 to 43 times below it, 13 in the geometric mean."""
MOST_TRIALS = 6
NEARLY = 0.9  # of two rates whose losses fall nearly as far, the smaller is proposed: it keeps its distance
BEGUN_SHARE, FALL = 0.03, 0.04  # of the way from chance to the floor, or of the loss: what shows that a rate learns
STILL = 100.0  # critical multiples above it at every step: the weights are still those of the start
OUTDONE = 0.5  # of the loss of a run: what a rehearsal at another rate came below; own, set on seven faults (0.00 to 0.48)
NEARLY_DONE = 0.1  # of the loss at the start: a run that is below it has learned, whatever other rates do
_OPEN = ("at_constant", "no_fall", "chance_unknown")  # causes of a verdict that stays open
AGREES = 3.0  # a proposal within this factor of the loop's own rate says that the rate is not the cause


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A rate that was tried.

    Attributes:
        rate: to set.
        scale: the rate over the loop's own.
        steps: that were rehearsed at it.
        first: loss on the fixed batch before them.
        last: after them.
        own: what the loop's own rate came to; infinite where it was not finite.
        learns: whether the loss fell by more than what a constant answer can do.
    """

    rate: float
    scale: float
    steps: int
    first: float
    last: float
    own: float
    learns: bool


def settings_of(evidence: Evidence) -> OptimizerSettings | None:
    """The optimizer's settings, from whoever looked."""
    return evidence.optimizer or (evidence.probe.optimizer if evidence.probe is not None else None)


def own_rate(evidence: Evidence) -> float | None:
    """The rate that the program sets: that of the optimizer, its schedule's base, or the largest rehearsed; None or above 0.

    A schedule that has come to its end leaves 0 in the optimizer.
    """
    settings, rehearsal = settings_of(evidence), evidence.rehearsal
    rate = (settings.base_lr or settings.lr) if settings is not None else None
    if not rate and rehearsal is not None:
        rate = max((step.lr for step in rehearsal.steps if step.lr), default=None)
    return rate if rate and math.isfinite(rate) else None


def on_grid(rate: float) -> float:
    """The nearest of 1 and 3 times the powers of ten."""
    return _rate_at(round(2 * math.log10(rate)))


def _rate_at(place: int) -> float:
    return float(f"{3 if place % 2 else 1}e{place // 2}")


def guess(evidence: Evidence) -> float | None:
    """The rate that the critical step at the starting weights asks for, on the grid; None if none was measured."""
    rehearsal, own = evidence.rehearsal, own_rate(evidence)
    found = [(number, step.multiple) for number, step in (rehearsal.critical if rehearsal else ()) if step.multiple]
    if own is None or not found or found[0][0] != 1:
        return None
    settings = settings_of(evidence)
    momentum = min(settings.momentum or 0.0, 0.999) if settings is not None else 0.0
    # Momentum adds up to 1 / (1 - momentum) first steps; those of later steps are measured with it.
    multiples = [found[0][1] * (1 - momentum)]
    if all(multiple > STILL for _, multiple in found):
        multiples += [multiple for _, multiple in found[1:]]
    return on_grid(own * min(multiples) / BELOW_CRITICAL)


def leaves_room(rehearsal: Rehearsal) -> bool:
    """Whether a rehearsal leaves open what a run will do, and each of its steps could have been a hundred times as long.

    Of a loss of an unknown kind nothing is promised from the pace of its first steps; other rates still show whether the rate
    holds it back.
    """
    multiples = [step.multiple for _, step in rehearsal.critical]
    rates = [step.lr for step in rehearsal.steps if step.lr]
    is_small = bool(multiples) and all(multiple is not None and multiple > STILL for multiple in multiples)
    is_open = judge_rehearsal(rehearsal).cause in _OPEN
    return is_open and is_small and _losses_speak(rehearsal) and (not rates or rates[-1] <= WARMING * rates[0])


def next_rate(evidence: Evidence) -> float | None:
    """The rate to try next for a remedy; None where no other would change what is proposed, or trials say nothing.

    Begins at the guess and goes on beside the best, one half decade at a time.
    """
    rehearsal, own, first = evidence.rehearsal, own_rate(evidence), guess(evidence)
    if rehearsal is None or own is None or first is None or not _losses_speak(rehearsal):
        return None
    if 1 / AGREES < first / own < AGREES:
        return None
    tried = {round(2 * math.log10(own * trial.scale)): _end(trial) for trial in rehearsal.remedy_rates}
    place = round(2 * math.log10(first))
    if place not in tried:
        return _rate_at(place)
    best = min(tried, key=lambda at: (tried[at], at))
    beside = [at for at in (best - 1, best + 1) if at not in tried]
    return _rate_at(beside[0]) if beside and len(tried) < MOST_TRIALS else None


def chosen(evidence: Evidence) -> Choice | None:
    """Of the rates that were tried, the smallest whose loss falls nearly as far as the best one's; None if none was."""
    rehearsal, own = evidence.rehearsal, own_rate(evidence)
    if rehearsal is None or own is None or not rehearsal.remedy_rates or not rehearsal.reference:
        return None
    first = rehearsal.reference[0].loss
    ends = {trial.scale: _end(trial) for trial in rehearsal.remedy_rates}
    best = min(ends.values())
    if not math.isfinite(best):
        return None
    wanted = first - NEARLY * (first - best) if best < first else best
    scale = min(scale for scale, end in ends.items() if end <= wanted)
    return _choice(rehearsal, own, next(trial for trial in rehearsal.remedy_rates if trial.scale == scale))


def _choice(rehearsal: Rehearsal, own: float, trial: OtherRate) -> Choice:
    return Choice(
        rate=float(f"{own * trial.scale:.3g}"),
        scale=trial.scale,
        steps=trial.reference[-1].step,
        first=rehearsal.reference[0].loss,
        last=_end(trial),
        own=math.inf if rehearsal.ended_by == "not finite" else rehearsal.reference[-1].loss,
        learns=_learns(rehearsal, trial),
    )


def outdone(evidence: Evidence) -> Choice | None:
    """The rate at which the rehearsal got much further than the program at its own; None where none did.

    Of a run: at no more steps than it took, to less than half of its loss. Before one: where the verdict rests on that rate.
    """
    rehearsal, own = evidence.rehearsal, own_rate(evidence)
    if rehearsal is None or own is None or chosen(evidence) is None or not _losses_speak(rehearsal):
        return None
    tried = _choice(rehearsal, own, min(rehearsal.remedy_rates, key=_end))
    if not tried.learns or 1 / AGREES < tried.scale < AGREES:
        return None
    if evidence.steps:
        recent, enough = reading.recent_loss(evidence), reading.num_steps(evidence) >= tried.steps
        behind = recent is not None and recent > NEARLY_DONE * tried.first and tried.last < OUTDONE * recent
        return tried if enough and behind else None
    if tried.scale > 1 and leaves_room(rehearsal):
        return tried if tried.last < OUTDONE * tried.own else None
    judged = judge_rehearsal(rehearsal)
    if judged.verdict == UNSTABLE and judged.cause in ("lost", "rising"):  # and a smaller rate keeps what it learns
        return tried if tried.scale < 1 else None
    rests_on = ("larger_rate", "pace") if tried.scale > 1 else ("smaller_rate",)
    return tried if judged.cause in rests_on else None


def _losses_speak(rehearsal: Rehearsal) -> bool:
    """Whether a lower loss is a better one: not of a policy's, which goes below zero, nor of losses against each other."""
    losses = [seen.loss for seen in rehearsal.reference]
    positive = all(loss > 0 for loss in losses if math.isfinite(loss))
    return bool(losses) and math.isfinite(losses[0]) and not rehearsal.opposed and positive


def _end(trial: OtherRate) -> float:
    """Median loss of the last fifth of the steps; infinite where one is not finite."""
    if trial.ended_by == "not finite" or not trial.reference:
        return math.inf
    late = sorted(seen.loss for seen in trial.reference if seen.step >= 0.8 * trial.reference[-1].step)
    return late[len(late) // 2] if all(map(math.isfinite, late)) else math.inf


def _learns(rehearsal: Rehearsal, trial: OtherRate) -> bool:
    if shares := shares_of(rehearsal, trial.reference):
        return max(share for _, share in shares[-2:]) >= BEGUN_SHARE
    first = rehearsal.reference[0].loss
    return first - _end(trial) > FALL * abs(first)
