"""Measurements of a trial's runs -> its verdict: was it as the seed saw it, and does the seed's explanation hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from trainability.trials.trial import EVENTS, Expectation, Trial, Variant

Numbers = Mapping[str, float | None]
"""Metric -> value of one run; of a probe trial METRIC:LABEL -> value."""

Phenomenon = Literal["as the seed saw it", "not as the seed saw it", "not measured"]
Explanation = Literal["holds", "does not hold", "cannot be told"]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """An expectation and what was measured.

    Attributes:
        expectation: of the trial.
        values: one per seed, in the trial's order; `None` where the run has no such number, or was not made.
        is_met: in more than half of the runs that were made; `None` if none was.
    """

    expectation: Expectation
    values: tuple[float | None, ...]
    is_met: bool | None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is to be said of a trial.

    Attributes:
        phenomenon: whether the run looks as the seed says.
        explanation: whether the seed's explanation holds.
        judged: every expectation.
    """

    phenomenon: Phenomenon
    explanation: Explanation
    judged: tuple[Judged, ...]


def judge(trial: Trial, runs: Mapping[tuple[Variant, int], Numbers]) -> Verdict:
    """Judge a trial.

    Args:
        trial: of the book.
        runs: (variant, seed) -> numbers of that run; of a probe trial one entry, ("repaired", 0).

    Returns:
        The explanation holds if all that speaks for it was measured and nothing that speaks against it; it does not hold if
        anything against it was measured. Where neither is so, it cannot be told.
    """
    judged = tuple(_judge(expectation, trial, runs) for expectation in trial.expectations)
    seen = [row.is_met for row in judged if row.expectation.role == "phenomenon"]
    supporting = [row.is_met for row in judged if row.expectation.role == "holds"]
    against = [row.is_met for row in judged if row.expectation.role == "fails"]
    phenomenon: Phenomenon = "not measured"
    if seen and None not in seen:
        phenomenon = "as the seed saw it" if all(seen) else "not as the seed saw it"
    explanation: Explanation = "cannot be told"
    if any(against):
        explanation = "does not hold"
    elif supporting and all(supporting):
        explanation = "holds"
    return Verdict(phenomenon=phenomenon, explanation=explanation, judged=judged)


def _judge(expectation: Expectation, trial: Trial, runs: Mapping[tuple[Variant, int], Numbers]) -> Judged:
    variant = expectation.variant if expectation.variant in trial.variants else trial.variants[0]
    made = [runs.get((variant, seed)) for seed in trial.seeds]
    values = tuple(None if numbers is None else numbers.get(expectation.metric) for numbers in made)
    met = [is_met(expectation, value) for numbers, value in zip(made, values, strict=True) if numbers is not None]
    known = [answer for answer in met if answer is not None]
    return Judged(expectation=expectation, values=values, is_met=2 * sum(known) > len(known) if known else None)


def is_met(expectation: Expectation, value: float | None) -> bool | None:
    """Tell whether a number is as expected; `None` if there is none and that is not what was expected."""
    if expectation.never:
        return value is None
    if value is None:
        # An event that never came is an answer; any other number that a run lacks is none.
        return False if expectation.metric in EVENTS else None
    low, high = expectation.low, expectation.high
    return (low is None or value >= low) and (high is None or value <= high)
