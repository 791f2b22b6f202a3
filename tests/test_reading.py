"""Readings of the evidence that rules share."""

import math
from collections.abc import Callable

import pytest

from trainability.doctor import Evidence, reading
from trainability.doctor.evidence import StepRecord


def losses(of: Callable[[int], float], num: int = 200) -> Evidence:
    """A run with a loss as a function of the step, under noise of a hundredth that is the same every third step."""
    return Evidence(steps=tuple(StepRecord(step=i + 1, loss=of(i) + 0.01 * (i % 3 - 1)) for i in range(num)))


@pytest.mark.parametrize(
    ("of", "trend"),
    [
        (lambda i: 2.3 * math.exp(-i / 100), "falling"),
        (lambda i: 2.3 * math.exp(-i / 10), "flat"),  # down to 0 after forty steps
        (lambda i: 2.3 - 2 * math.sin(math.pi * i / 200), "rising"),
        (lambda i: 2.3 - i / 1000, "falling"),
        (lambda i: 2.3 - i / 100 if i < 100 else 1.3, "flat"),
        (lambda i: 0.8 + 1.5 * math.exp(-i / 10) + 0.02 * max(i - 160, 0), "rising"),
    ],
)
def test_where_a_loss_goes(of: Callable[[int], float], trend: str) -> None:
    assert reading.trend(losses(of)) == trend


def test_two_windows_are_the_least() -> None:
    assert reading.trend(losses(lambda i: 2.3 - i / 100, 39)) is None
    assert reading.trend(losses(lambda i: 2.3 - i / 100, 40)) == "falling"


def test_steps_that_are_not_finite_are_left_out() -> None:
    assert reading.trend(losses(lambda i: math.nan if i % 2 else 2.3 - i / 100)) == "falling"
