"""Verdicts come from numbers alone."""

from typing import Any

import pytest

from trainability.trials.book import TRIALS
from trainability.trials.judge import is_met, judge
from trainability.trials.trial import Expectation, Trial, Variant


def expect(role: str, metric: str = "times_constant", **bounds: Any) -> Expectation:
    return Expectation(metric=metric, text="it is so", role=role, **bounds)  # type: ignore[arg-type]


def trial_of(*expectations: Expectation, seeds: tuple[int, ...] = (0,)) -> Trial:
    return Trial(**{**vars(TRIALS["caltech-1"]), "expectations": expectations, "seeds": seeds})


def numbers(value: float | None, seed: int = 0, variant: Variant = "repaired") -> dict[Any, Any]:
    return {(variant, seed): {"times_constant": value, "nan_step": value}}


@pytest.mark.parametrize(
    ("bounds", "value", "answer"),
    [
        ({"low": 2}, 2.0, True),
        ({"low": 2}, 1.9, False),
        ({"high": 2}, 2.1, False),
        ({"low": 1, "high": 2}, 1.5, True),
        ({"low": 2}, float("inf"), True),
        ({"low": 2}, None, None),
        ({"never": True}, None, True),
        ({"never": True}, 3.0, False),
    ],
)
def test_a_number_in_its_range(bounds: dict[str, Any], value: float | None, answer: bool | None) -> None:
    assert is_met(expect("holds", **bounds), value) is answer


def test_an_explanation_holds_if_all_speaks_for_it_and_nothing_against() -> None:
    trial = trial_of(expect("holds", low=2), expect("fails", high=1.5))
    assert judge(trial, numbers(3.0)).explanation == "holds"
    assert judge(trial, numbers(1.0)).explanation == "does not hold"
    assert judge(trial, numbers(1.7)).explanation == "cannot be told"
    assert judge(trial, {}).explanation == "cannot be told"


def test_what_speaks_against_it_outweighs_what_speaks_for_it() -> None:
    assert judge(trial_of(expect("holds", low=2), expect("fails", low=2)), numbers(3.0)).explanation == "does not hold"


def test_the_phenomenon_is_not_measured_where_no_run_was_made() -> None:
    trial = trial_of(expect("phenomenon", low=2, variant="as-published"))
    assert judge(trial, numbers(3.0)).phenomenon == "not measured"
    assert judge(trial, numbers(3.0, variant="as-published")).phenomenon == "as the seed saw it"
    assert judge(trial, numbers(1.0, variant="as-published")).phenomenon == "not as the seed saw it"


def test_of_several_seeds_more_than_half_decide() -> None:
    trial = trial_of(expect("holds", low=2), seeds=(0, 1, 2))
    two = {**numbers(3.0, 0), **numbers(3.0, 1), **numbers(1.0, 2)}
    one = {**numbers(3.0, 0), **numbers(1.0, 1), **numbers(1.0, 2)}
    assert judge(trial, two).explanation == "holds"
    assert judge(trial, one).explanation == "cannot be told"
    assert judge(trial, one).judged[0].values == (3.0, 1.0, 1.0)


def test_an_event_that_never_came_is_an_answer() -> None:
    assert is_met(expect("phenomenon", metric="nan_step", low=1), None) is False
    assert is_met(expect("phenomenon", metric="nan_step", low=1), 7.0) is True
    trial = trial_of(expect("phenomenon", metric="nan_step", low=1), seeds=(0, 1, 2))
    some = {**numbers(3.0, 0), **numbers(None, 1), **numbers(None, 2)}
    assert judge(trial, some).phenomenon == "not as the seed saw it"
