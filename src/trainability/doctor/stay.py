"""How long the loss stays at chance: from what rehearsals reached, and the closed form where they reached nothing."""

import math
from dataclasses import dataclass

from trainability.doctor.evidence import OptimizerSettings
from trainability.doctor.other_rates import FREE, typical_multiple
from trainability.doctor.reading import LEARNED, WINDOW_STEPS
from trainability.doctor.rehearsed import Growth, Observation, OtherRate, Rehearsal
from trainability.doctor.theory.band import PLATEAU_SHARE, PLATEAU_START

# What brings the median of measured over predicted to 1, and then the lag of a mean over `WINDOW_STEPS` losses. Set on the half
# of benchmarks/results/prediction-runs.jsonl that is not scored: `python benchmarks/prediction.py --fit`.
FACTORS = {
    "rehearsal": 1.36,
    "forecast": 0.74,
    "closed form": 0.73,
    "closed form anew": 1.0,
    "pace": 0.87,
    "descent": 0.92,
    "beyond": 1.0,
}
LAG = WINDOW_STEPS / 2
# Spread of the outputs over their size. A larger rate that ends below it has killed the units that would have learned at the
# loop's own: its steps are no look ahead. Own, the same half: with it 5 of 74 closed forms are off by more than a factor 2. A
# rehearsal that ends below it has killed its own: growth of what is left of its weights helps nothing.
ANSWERS = 0.2
# A loss still so far above chance after the rehearsal falls to it fast, and then stays for as long as a net above the band
# does. Own, the same half: seven of seven within a factor 2; without, five were predicted 2 to 5 times too early.
FAR_ABOVE, SETTLING_STEPS = 1.5, 80.0
# Growth is measured twice, at the start and after the rehearsal, and a rehearsal changes a net that starts above chance or at a
# long step beyond what the first tells: the geometric mean of both times is taken. Own, the same half: of 74 stays that the
# closed form predicts 72 are within a factor 2 and 61 within 1.5, with the first alone 69 and 54.
QUICK_STEPS = 5.0  # added to each: weights that grow sooner wait for momentum and each other
RESOLVED = 0.1  # a signal below this share of the reference's noise is not known to be smaller
# Noise over signal at which a run seldom trains. Own, the same half, without dropout and predicted to leave within 130 steps:
# 59 of 88 below it train, and 5 of 16 above.
NOISY = 1.0
# Share of the closed form after which a rehearsal that is still at chance starts it anew, from the weights as they are then.
# Whether the loss falls meanwhile says nothing: that of dropout's other half moves by as much. Own, runs 64 to 111 of
# benchmarks/real_sets.py: of ten that had not fallen five left within 300 steps, and all of those still told examples apart.
OVER = 0.5
FURTHEST = 10.0  # a pace that needs more than so many plans says nothing


@dataclass(frozen=True, kw_only=True)
class Stay:
    """Predicted steps at chance.

    Attributes:
        steps: at which the mean of the last 20 losses is below 0.9 of chance; infinite for never.
        source: "rehearsal" (it left chance), "forecast" (one at a larger rate did), "closed form", "closed form anew" (of the
            weights as the rehearsal left them), "pace" (of the loss), "descent" (the same, from far above chance), or "beyond":
            nothing says that it leaves within the plan.
    """

    steps: float
    source: str


def predicted_stay(rehearsal: Rehearsal, plateau_steps: float | None, settings: OptimizerSettings) -> Stay | None:
    """Predict the step at which the loss leaves chance.

    Args:
        rehearsal: with a reference loss, and at other rates where they were tried.
        plateau_steps: of the closed form (docs/theory.md, section 7); None where it does not apply.
        settings: of the loop's optimizer, which is SGD.

    Returns:
        The stay; None where chance or the length of the plan is unknown.
    """
    if rehearsal.task.chance is None or rehearsal.planned_steps is None or not rehearsal.reference:
        return None
    raw, source = read_off(rehearsal, plateau_steps, settings)
    return Stay(steps=max(float(WINDOW_STEPS), FACTORS[source] * raw + LAG), source=source)


def read_off(rehearsal: Rehearsal, plateau_steps: float | None, settings: OptimizerSettings) -> tuple[float, str]:
    """Steps before any factor, and where they were read.

    Raises:
        ValueError: chance or the length of the plan is unknown.
    """
    chance, planned = rehearsal.task.chance, rehearsal.planned_steps
    if chance is None or planned is None:
        raise ValueError("chance and the length of the plan are unknown; a stay needs both")
    if (step := _crossing(rehearsal.reference, chance)) is not None:
        return step, "rehearsal"
    furthest, multiple, momentum = 0.0, typical_multiple(rehearsal) or 0.0, settings.momentum or 0.0
    for rate in sorted(rehearsal.other_rates, key=lambda rate: rate.scale):
        if not 1 < rate.scale <= multiple / FREE or not _looks_ahead(rate):
            continue
        if (step := _crossing(rate.reference, chance)) is not None:
            return _same_way(rate.scale, step, momentum), "forecast"
        furthest = _same_way(rate.scale, rate.reference[-1].step, momentum)
    growing, last = growing_steps(rehearsal, settings), rehearsal.reference[-1]
    closed, end, is_late = plateau_steps, _at_this_pace(rehearsal.reference, chance), False
    if closed is not None and growing is not None:
        is_late = last.step >= OVER * closed and last.loss <= FAR_ABOVE * chance
        closed = _closed_form(mean_growth((closed - PLATEAU_START) / PLATEAU_SHARE, growing))
        if is_late and _answers(last):
            return last.step + FACTORS["closed form"] * _closed_form(growing), "closed form anew"
    elif closed is not None:
        closed = max(closed, furthest)
    # A closed form that the rehearsal outlasted at chance is refuted: it is about weights that the first steps have changed.
    if closed is not None and not is_late and FACTORS["closed form"] * closed + LAG > last.step:
        return closed, "closed form"
    if end is None or end > FURTHEST * planned:
        return max(2 * furthest, 1.5 * planned), "beyond"
    if last.loss > FAR_ABOVE * chance:
        return max(end + SETTLING_STEPS, furthest), "descent"
    return max(end, furthest), "pace"


def _closed_form(growing: float) -> float:
    """Equation (9)."""
    return PLATEAU_START + PLATEAU_SHARE * growing


def growing_steps(rehearsal: Rehearsal, settings: OptimizerSettings) -> float | None:
    """T of equation (9) for the weights as the rehearsal left them; None where it was not measured, or nothing grows."""
    growth = rehearsal.growth
    if growth is None:
        return None
    speed = settings.lr / (1 - (settings.momentum or 0.0))
    if settings.clip is not None and growth.norm > settings.clip:
        speed *= settings.clip / growth.norm
    return 1 / (speed * _signal(growth)) if speed * _signal(growth) > 0 else None


def noise_over_signal(growth: Growth, steps: float) -> float:
    """How far noise moves the weights in so many steps, over how far the gradient does: noise adds up as their root."""
    return growth.noise / (_signal(growth) * math.sqrt(steps))


def _signal(growth: Growth) -> float:
    return max(growth.signal, RESOLVED * growth.noise / math.sqrt(growth.batches))


def mean_growth(first: float, last: float) -> float:
    """The mean of T at the start and after some steps, in steps."""
    return math.sqrt((first + QUICK_STEPS) * (last + QUICK_STEPS))


def _looks_ahead(rate: OtherRate) -> bool:
    return rate.ended_by != "not finite" and bool(rate.reference) and _answers(rate.reference[-1])


def _answers(look: Observation) -> bool:
    """Whether outputs still tell examples apart; where nobody could see it, they are taken to."""
    return look.output_spread is None or look.output_spread >= ANSWERS * (look.output_rms or 0.0)


def _crossing(seen: tuple[Observation, ...], chance: float) -> float | None:
    """Step at which the loss first is below 0.9 of chance, on a straight line between two looks."""
    before: Observation | None = None
    for look in seen:
        if not math.isfinite(look.loss):
            return None
        if look.loss < LEARNED * chance:
            if before is None:
                return 0.0
            share = (before.loss - LEARNED * chance) / (before.loss - look.loss)
            return before.step + share * (look.step - before.step)
        before = look
    return None


def _at_this_pace(seen: tuple[Observation, ...], chance: float) -> float | None:
    """Step at which a loss that falls as in the second half of the rehearsal, by equal factors, is below 0.9 of chance."""
    if len(seen) < 3 or not all(math.isfinite(look.loss) and look.loss > 0 for look in seen):
        return None
    middle, last = seen[len(seen) // 2], seen[-1]
    if last.step <= middle.step or last.loss >= middle.loss:
        return None
    pace = math.log(middle.loss / last.loss) / (last.step - middle.step)
    return last.step + math.log(last.loss / (LEARNED * chance)) / pace


def _same_way(scale: float, step: float, momentum: float) -> float:
    """Steps at the loop's own rate that go as far as so many at a rate `scale` times as large.

    After n steps of momentum m the way is n - m (1 - m^n) / (1 - m) full steps: it takes a while to fill.
    """
    way = scale * _way(step, momentum)
    low, high = step, scale * step + 10 / (1 - momentum)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _way(middle, momentum) < way else (low, middle)
    return high


def _way(steps: float, momentum: float) -> float:
    return steps - momentum * (1 - momentum**steps) / (1 - momentum)
