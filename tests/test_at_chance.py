"""A run at chance: what its steps tell of the cause, and what is said where nothing does."""

import pytest
from rule_examples import CHANCE, layer, sample, steps

from trainability.doctor import Evidence, diagnose
from trainability.doctor.evidence import OptimizerSettings
from trainability.doctor.finding import Finding

EVERY = range(1, 400, 50)


def found(ratios: list[float], rates: list[float] | None = None, *, above: float = 0.0) -> Finding | None:
    """400 steps at chance, sampled at every fiftieth.

    Args:
        ratios: of the update over the weights, at the sampled steps; the last one holds for the rest.
        rates: learning rates at its thirds.
        above: chance, by so much of it, the loss of the first thirty.
    """
    ratios = [*ratios, *[ratios[-1]] * (len(EVERY) - len(ratios))]
    samples = tuple(sample(at, (layer(update_ratio=ratio),)) for at, ratio in zip(EVERY, ratios, strict=True))
    losses = [CHANCE * (1 + above * (i < 30)) + 0.01 * (i % 3 - 1) for i in range(400)]
    first, middle, last = rates or [1e-3] * 3
    rows = (*steps(losses[:130], lr=first), *steps(losses[:270], lr=middle)[130:], *steps(losses, lr=last)[270:])
    settings = OptimizerSettings(name="Adam", lr=last, base_lr=1e-3)
    return next(iter(diagnose(Evidence(steps=rows, samples=samples, num_classes=10, optimizer=settings)).findings), None)


NOAM = [1e-8, 3e-6, 2e-6]


@pytest.mark.parametrize(("above", "expected"), [(0.03, True), (0.06, False)])
def test_a_schedule_that_starts_from_nothing_and_comes_to_little(above: float, expected: bool) -> None:
    """The first step alone would ask for a rate a hundred thousand times as large."""
    told = found([1e-7, 2e-5, 3e-5, 2e-5], NOAM, above=above)
    assert (told is not None) == expected
    if told is not None:
        assert (told.code, told.severity) == ("update_ratio.small", "warning")
        assert "lr=0.1)" in told.remedy


@pytest.mark.parametrize(
    "told", [found([1e-3]), found([1e-7, 2e-5, 3e-5, 4e-5], [1e-8, 1e-6, 4e-6]), found([2e-5] * 3 + [1e-3], NOAM)]
)
def test_where_nothing_tells_the_cause_none_is_claimed(told: Finding | None) -> None:
    """Usual steps, a warm-up that goes on, and steps that became usual."""
    assert told is not None
    assert told.code == "plateau.at_chance"
    assert "the run does not tell" in told.cause
    assert "one and the same batch" in told.remedy
