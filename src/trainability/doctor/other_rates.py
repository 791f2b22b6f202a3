"""What a rehearsal at other learning rates says: where the plan ends, and whether another rate would do better.

Far below the rate at which steps overshoot, n steps at c times the rate go where c n steps at the rate itself go. So a
rehearsal at as many times the rate as the plan is longer shows the plan's end; its first steps, which must agree with those of
the rehearsal proper, show whether it may be believed. Thresholds are set as those of `outlook`.
"""

import math
from dataclasses import dataclass

from trainability.doctor.rehearsed import Observation, OtherRate, Rehearsal, Task

# Shares are of the way from chance to the floor of the loss, as in `outlook`.
TRAINED, MARGIN = 0.25, 0.03  # what the plan's end promises, and what a forecast may be off
FAILED = 0.22  # a forecast below it falls short
# Part of a text is chance: its entropy is about half of that of its tokens one by one, so the same is asked of half the way.
TRAINED_TOKENS, FAILED_TOKENS = 0.15, 0.10
BETTER, HINTED = 0.1, 0.03  # another rate does better by this share, or seems to
AGREES, AGREES_TRAVELLED = 0.02, 0.2  # two ways to one step may differ by this, and by this of what the second half brought
DECADE = 10.0
UNKNOWN_PLAN = 10.0  # a plan of unknown length is asked for this many times the rehearsal
SHORTEST = 1.4  # a look ahead that is longer than the rehearsal by less is not worth its time
LEAST_BETWEEN = 3.0  # rates up to so many times the loop's own are no larger rates
HIGHEST = 2.5  # a larger rate is not tried above so many critical multiples
FREE = 5.0  # a scale has to stay below the critical multiple by this, or the steps overshoot
FAR = 8.0  # a larger rate is tried this far below the critical multiple
TURBULENT = 4.0  # a critical multiple below it: the steps nearly overshoot
COLLAPSED = 1e-3  # spread of the outputs over their size: below, no answer depends on the input


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One rate, in shares of the way from chance to the floor.

    Attributes:
        scale: its rate over the loop's own.
        steps: steps taken before each look.
        shares: at each look; minus infinity where the loss is not finite.
        spread: of the outputs over their size at the last look; None if unknown.
    """

    scale: float
    steps: tuple[int, ...]
    shares: tuple[float, ...]
    spread: float | None

    @property
    def end(self) -> float:
        """The median of the last fifth, as one look may be an outlier."""
        late = sorted(share for step, share in zip(self.steps, self.shares, strict=True) if step >= 0.8 * self.steps[-1])
        return late[len(late) // 2] if all(map(math.isfinite, late)) else -math.inf

    @property
    def is_constant(self) -> bool:
        """Whether its outputs no longer depend on the input."""
        return self.spread is not None and self.spread < COLLAPSED

    def at(self, step: float) -> float:
        """The share at a step, between looks on a straight line; the last one beyond them."""
        for (a, low), (b, high) in zip(
            zip(self.steps, self.shares, strict=True), zip(self.steps[1:], self.shares[1:], strict=True), strict=False
        ):
            if a <= step <= b:
                return low + (high - low) * (step - a) / (b - a) if math.isfinite(low) and math.isfinite(high) else high
        return self.shares[-1]

    def reaches(self, share: float) -> float:
        """The step at which it first has that share; infinite where it never has."""
        for i, (step, value) in enumerate(zip(self.steps, self.shares, strict=True)):
            if value >= share:
                if i == 0:
                    return 0.0
                before, low = self.steps[i - 1], self.shares[i - 1]
                return before + (share - low) / (value - low) * (step - before) if math.isfinite(low) else float(step)
        return math.inf


def shares_of(rehearsal: Rehearsal, seen: tuple[Observation, ...]) -> list[tuple[int, float]]:
    """Steps and shares of the way from chance to the floor; empty where one of the two is unknown."""
    task = rehearsal.task
    if task.chance is None or task.floor is None or not math.isfinite(task.floor) or not task.chance > task.floor:
        return []
    way = task.chance - task.floor
    return [(look.step, (task.chance - look.loss) / way if math.isfinite(look.loss) else -math.inf) for look in seen]


def trials(rehearsal: Rehearsal) -> list[Trial]:
    """What was tried, the loop's own rate first."""
    own = OtherRate(scale=1.0, reference=rehearsal.reference)
    found = []
    for rate in (own, *rehearsal.other_rates):
        if shares := shares_of(rehearsal, rate.reference):
            last = rate.reference[-1]
            spread = None if last.output_spread is None else last.output_spread / max(last.output_rms or 0.0, 1e-30)
            if rate.ended_by == "not finite":
                shares = [*shares, (shares[-1][0] + 1, -math.inf)]
            steps, values = zip(*shares, strict=True)
            found.append(Trial(scale=rate.scale, steps=steps, shares=values, spread=spread))
    return found


def typical_multiple(rehearsal: Rehearsal) -> float | None:
    """Median critical multiple after the first step: momentum and the averages of Adam have not filled at the first."""
    later = [step.multiple for _, step in rehearsal.critical[1:] if step.multiple is not None]
    found = sorted(later or [step.multiple for _, step in rehearsal.critical if step.multiple is not None])
    return found[len(found) // 2] if found else None


def trained_share(task: Task) -> float:
    """What the plan's end promises."""
    return TRAINED_TOKENS if task.kind == "token_classification" else TRAINED


def failed_share(task: Task) -> float:
    """What a forecast has to stay below to fall short."""
    return FAILED_TOKENS if task.kind == "token_classification" else FAILED


def plan_scale(rehearsal: Rehearsal) -> float:
    """How many times the rehearsal the plan is."""
    taken = max(len(rehearsal.steps), 1)
    return max(rehearsal.planned_steps / taken, 1.0) if rehearsal.planned_steps is not None else UNKNOWN_PLAN


def schedule_steps(rehearsal: Rehearsal, scale: float) -> int:
    """Steps of a scheduler for each of the loop's, so that it goes as far as the rate does, or as the plan."""
    plan = plan_scale(rehearsal)
    return max(round(plan if scale < 1 else min(plan, scale)), 1)


def reach(rehearsal: Rehearsal, multiple: float) -> float:
    """The scale that looks furthest into the plan without steps that overshoot; 1 where there is none."""
    scale = plan_scale(rehearsal)
    while scale > multiple / FREE and scale > 1:
        scale /= 2
    return scale if scale >= SHORTEST else 1.0


def _between(rehearsal: Rehearsal, multiple: float) -> float:
    """Scales above it are larger rates; those below 1 smaller ones; what lies between looks ahead."""
    return max(reach(rehearsal, multiple), min(plan_scale(rehearsal), LEAST_BETWEEN))


def larger(rehearsal: Rehearsal, multiple: float) -> list[Trial]:
    """Trials at larger rates."""
    return [trial for trial in trials(rehearsal) if trial.scale > _between(rehearsal, multiple)]


def smaller(rehearsal: Rehearsal) -> list[Trial]:
    """Trials at smaller rates."""
    return [trial for trial in trials(rehearsal) if trial.scale < 1]


def looks_ahead(rehearsal: Rehearsal, multiple: float) -> tuple[Trial | None, bool]:
    """The trial that looks furthest into the plan, if it may be believed, and whether it shows the plan's end."""
    own, *others = trials(rehearsal)
    plan, scale = plan_scale(rehearsal), reach(rehearsal, multiple)
    if plan < SHORTEST:
        return own, True
    for trial in others:
        if trial.scale == scale > 1 and _may_be_believed(rehearsal, own, trial):
            return trial, trial.scale * trial.steps[-1] >= 0.9 * plan * own.steps[-1]
    return None, False


def _may_be_believed(rehearsal: Rehearsal, own: Trial, other: Trial) -> bool:
    """Whether both come to the same share by the end of the rehearsal.

    Where that lies before the other's first look, they cannot be compared: steps that overshoot would look the same as a plan
    that leads nowhere, so only one that learns is believed.
    """
    if not all(map(math.isfinite, other.shares)):
        return False
    step, travelled = own.steps[-1] / other.scale, abs(own.shares[-1] - own.at(own.steps[-1] / 2))
    if step < other.steps[1]:
        return other.end >= trained_share(rehearsal.task)
    return abs(other.at(step) - own.shares[-1]) <= AGREES + AGREES_TRAVELLED * travelled


def learns(trial: Trial, than: Trial) -> bool:
    """Whether a rate learns, or comes clearly further than another and than chance."""
    return trial.end >= TRAINED or trial.end > max(than.end, 0.0) + BETTER


def next_scale(rehearsal: Rehearsal, multiple: float, smallest: float) -> float | None:
    """The rate to try next, over the loop's own: the plan's end first, then larger ones, then smaller ones.

    Args:
        rehearsal: with what was tried so far.
        multiple: its typical critical multiple.
        smallest: its smallest.

    Returns:
        The scale; None where no other rate would tell more.
    """
    own, *others = trials(rehearsal)
    ahead, tried = reach(rehearsal, multiple), [trial.scale for trial in others]
    if ahead > 1 and ahead not in tried:
        return ahead
    seen, is_end = looks_ahead(rehearsal, multiple)
    if seen is not None and seen.end >= (failed_share if is_end else trained_share)(rehearsal.task):
        return None
    ups, downs, between = larger(rehearsal, multiple), smaller(rehearsal), _between(rehearsal, multiple)
    if any(learns(trial, seen or own) for trial in (*ups, *downs)):
        return None
    far = [between * DECADE**k for k in range(1, 7) if between * DECADE**k <= multiple / FAR]
    if not ups and (far or between * DECADE <= HIGHEST * multiple):
        return far[-1] if far else between * DECADE
    if len(ups) == 1:
        second = ups[0].scale * (1 / DECADE if ups[0].is_constant or not math.isfinite(ups[0].end) else DECADE)
        if between < second <= multiple and second not in tried:
            return second
    below = min(between, LEAST_BETWEEN) / DECADE
    if not downs:
        return below
    return below / DECADE if len(downs) == 1 and smallest < TURBULENT else None
