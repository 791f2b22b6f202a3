"""Measurements of a trial's runs -> its verdict: is it as the log saw it, and does the log's explanation hold?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from trainability.doctor.theory.band import BUDGET_HIGH
from trainability.trials.trial import EVENTS, GAINS, LEARNING, Answer, Expectation, Role, Trial, Variant

Numbers = Mapping[str, float | None]
"""Metric -> value of one run; for a probe trial, METRIC:LABEL -> value."""


@dataclass(frozen=True, kw_only=True)
class JudgedExpectation:
    """An expectation and what was measured.

    Attributes:
        expectation: of the trial.
        values: one per seed, in the trial's order; `None` if the run has no such number, or was not made.
        answer: "yes" or "no", the majority of the conclusive runs; "open" if no run is conclusive or there is no majority;
            "none" if no run was made.
    """

    expectation: Expectation
    values: tuple[float | None, ...]
    answer: Answer


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The verdict on a trial.

    Attributes:
        seen: whether the run with the bugs looks as the log says.
        holds: whether the log's explanation holds.
        judged: every expectation.
    """

    seen: Answer
    holds: Answer
    judged: tuple[JudgedExpectation, ...]


def judge(trial: Trial, runs: Mapping[tuple[Variant, int], Numbers]) -> Verdict:
    """Judge a trial.

    Args:
        trial: of the book.
        runs: (variant, seed) -> numbers of that run; for a probe trial, one entry, ("repaired", 0).

    Returns:
        The trial looks as the log saw it if everything that the log saw was measured, and does not if a measurement contradicts
        it. The explanation holds if all evidence for it was measured and none against it; it does not hold if any evidence
        against it was measured. In all other cases the answer is open.
    """
    judged = tuple(_judge(expectation, trial, runs) for expectation in trial.expectations)

    def answers(role: Role) -> list[Answer]:
        return [row.answer for row in judged if row.expectation.role == role]

    if not runs:
        return Verdict(seen="none", holds="none", judged=judged)
    seen, against = _all_of(answers("phenomenon")), "yes" in answers("fails")
    holds: Answer = "no" if against else "yes" if _all_of(answers("holds")) == "yes" else "open"
    plan = trial.settings.get("init.plan")
    if seen == "no" and plan is not None and plan.source == "our choice":
        # If the log names no plan, a negative result with a plan of ours does not contradict the log.
        seen = holds = "open"
    return Verdict(seen=seen, holds=holds, judged=judged)


def _all_of(answers: Iterable[Answer]) -> Answer:
    """Combine answers that must all be yes."""
    found = list(answers)
    if "no" in found:
        return "no"
    return "yes" if found and all(answer == "yes" for answer in found) else "open"


def _judge(expectation: Expectation, trial: Trial, runs: Mapping[tuple[Variant, int], Numbers]) -> JudgedExpectation:
    variant = expectation.variant if expectation.variant in trial.variants else trial.variants[0]
    made = [runs.get((variant, seed)) for seed in trial.seeds]
    values = tuple(None if numbers is None else numbers.get(expectation.metric) for numbers in made)
    met = [is_met(expectation, numbers) for numbers in made if numbers is not None]
    known = [answer for answer in met if answer is not None]
    answer: Answer = "open" if met else "none"
    if 2 * sum(known) != len(known):
        answer = "yes" if 2 * sum(known) > len(known) else "no"
    return JudgedExpectation(expectation=expectation, values=values, answer=answer)


def is_met(expectation: Expectation, numbers: Numbers) -> bool | None:
    """Return whether a run is as expected; `None` if it is not conclusive."""
    metric, value = expectation.metric, numbers.get(expectation.metric)
    met: bool | None
    if expectation.never:
        met = value is None
    elif value is None:
        # An event that never happened is an answer; a run that lacks any other number gives no answer.
        met = False if metric in EVENTS else None
    else:
        low, high = expectation.low, expectation.high
        met = (low is None or value >= low) and (high is None or value <= high)
    if met is None or metric not in LEARNING or not stays_at_chance(numbers):
        return met
    is_gain = metric in GAINS and expectation.low is not None
    if (is_gain and met) or (not is_gain and not met):
        return met  # it has learned something nevertheless
    return None if _is_too_short(numbers, is_gain=is_gain) else met


def stays_at_chance(numbers: Numbers) -> bool:
    """Return whether a run ended, with finite numbers, before it had left chance."""
    return numbers.get("left_chance_step") is None and numbers.get("nan_step") is None


def _is_too_short(numbers: Numbers, *, is_gain: bool) -> bool:
    """Return whether a run that is still at chance is too short to show what it would have learned.

    If it is predicted to leave chance later, or if there is no prediction, no answer is valid. Above the band, or with a
    prediction of never, a run that has learned nothing is as expected, at any size; whether a longer run would learn was not
    measured.
    """
    predicted, num_steps, budget = (numbers.get(name) for name in ("plateau_steps", "num_steps", "budget"))
    if (budget is not None and budget > BUDGET_HIGH) or (predicted is not None and math.isinf(predicted)):
        return is_gain
    return predicted is None or num_steps is None or predicted > num_steps
