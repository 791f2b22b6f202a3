"""Verdicts come from numbers alone."""

import math
from typing import Any

import pytest

from trainability.trials.book import TRIALS
from trainability.trials.judge import Numbers, is_met, judge
from trainability.trials.trial import Expectation, Trial, Variant


def expect(role: str, metric: str = "times_constant", **bounds: Any) -> Expectation:
    return Expectation(metric=metric, text="it is so", role=role, **bounds)  # type: ignore[arg-type]


def trial_of(*expectations: Expectation, seeds: tuple[int, ...] = (0,)) -> Trial:
    return Trial(**{**vars(TRIALS["caltech-1"]), "expectations": expectations, "seeds": seeds})


def numbers(value: float | None, seed: int = 0, variant: Variant = "repaired") -> dict[Any, Any]:
    return {(variant, seed): {"times_constant": value, "nan_step": None, "left_chance_step": 5.0}}


def at_chance(value: float, *, predicted: float | None, num_steps: float = 400) -> Numbers:
    """Numbers of a run that is still at chance when it ends."""
    return {"times_constant": value, "two_classes_share": 1.0, "plateau_steps": predicted, "num_steps": num_steps}


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
    assert is_met(expect("holds", metric="budget", **bounds), {"budget": value}) is answer


@pytest.mark.parametrize(
    ("predicted", "gain", "no_gain"),
    [
        (200.0, False, True),  # it should have left chance by now, and has not
        (401.0, None, None),  # it was to leave later
        (None, None, None),  # nothing was predicted
        (math.inf, None, True),
    ],
)
def test_a_run_that_is_shorter_than_its_predicted_stay_tells_nothing(
    predicted: float | None, gain: bool | None, no_gain: bool | None
) -> None:
    numbers = at_chance(1.0, predicted=predicted)
    assert is_met(expect("holds", low=2), numbers) is gain
    assert is_met(expect("fails", high=1.5), numbers) is no_gain
    assert is_met(expect("phenomenon", metric="left_chance_step", never=True), numbers) is no_gain
    assert is_met(expect("phenomenon", metric="two_classes_share", low=0.5), numbers) is no_gain
    # Above the band nothing else was expected, at any size; what a longer run does was not measured.
    above = {**at_chance(1.0, predicted=None), "budget": 3.0}
    assert is_met(expect("holds", low=2), above) is None
    assert is_met(expect("fails", high=1.5), above) is True
    # What was learned all the same counts, and so does what has nothing to do with learning.
    assert is_met(expect("holds", low=2), at_chance(3.0, predicted=predicted)) is True
    assert is_met(expect("fails", metric="budget", low=2.7), {**numbers, "budget": 3.0}) is True
    # A run that left chance, or ended at a NaN, was long enough.
    assert is_met(expect("holds", low=2), {**numbers, "left_chance_step": 300.0}) is False
    assert is_met(expect("holds", low=2), {**numbers, "nan_step": 3.0}) is False


def test_an_explanation_holds_if_all_speaks_for_it_and_nothing_against() -> None:
    trial = trial_of(expect("holds", low=2), expect("fails", high=1.5))
    assert judge(trial, numbers(3.0)).holds == "yes"
    assert judge(trial, numbers(1.0)).holds == "no"
    assert judge(trial, numbers(1.7)).holds == "open"
    assert judge(trial, {}).holds == judge(trial, {}).seen == "none"


def test_what_speaks_against_it_outweighs_what_speaks_for_it() -> None:
    assert judge(trial_of(expect("holds", low=2), expect("fails", low=2)), numbers(3.0)).holds == "no"


def test_the_phenomenon_is_not_measured_where_no_run_was_made() -> None:
    trial = trial_of(expect("phenomenon", low=2, variant="as-run"))
    assert judge(trial, numbers(3.0)).seen == "open"
    assert judge(trial, numbers(3.0)).judged[0].answer == "none"
    assert judge(trial, numbers(3.0, variant="as-run")).seen == "yes"
    assert judge(trial, numbers(1.0, variant="as-run")).seen == "no"


def test_of_several_things_that_were_seen_one_that_was_not_is_enough() -> None:
    trial = trial_of(expect("phenomenon", low=2), expect("phenomenon", metric="two_classes_share", low=0.5))
    assert judge(trial, numbers(3.0)).seen == "open"
    assert judge(trial, numbers(1.0)).seen == "no"


def test_of_several_seeds_more_than_half_decide() -> None:
    trial = trial_of(expect("holds", low=2), seeds=(0, 1, 2))
    two = {**numbers(3.0, 0), **numbers(3.0, 1), **numbers(1.0, 2)}
    one = {**numbers(3.0, 0), **numbers(1.0, 1), **numbers(1.0, 2)}
    assert judge(trial, two).holds == "yes"
    assert judge(trial, one).holds == "open"
    assert judge(trial, one).judged[0].values == (3.0, 1.0, 1.0)


def test_an_event_that_never_came_is_an_answer() -> None:
    assert is_met(expect("phenomenon", metric="nan_step", low=1), {}) is False
    assert is_met(expect("phenomenon", metric="nan_step", low=1), {"nan_step": 7.0}) is True
    trial = trial_of(expect("phenomenon", metric="nan_step", low=1), seeds=(0, 1, 2))
    some: dict[Any, Any] = {("repaired", seed): {"nan_step": 3.0 if seed == 0 else None} for seed in (0, 1, 2)}
    assert judge(trial, some).seen == "no"


def test_as_many_runs_for_as_against_tell_nothing() -> None:
    trial = trial_of(expect("holds", low=2), seeds=(0, 1))
    assert judge(trial, {**numbers(3.0, 0), **numbers(1.0, 1)}).judged[0].answer == "open"


def test_a_plan_of_our_choice_that_does_not_show_it_says_nothing_of_the_logs() -> None:
    trial = TRIALS["imagenet-D-fail-1"]
    assert trial.settings["init.plan"].source == "our choice"
    still = {"early_swing": 0.01, "budget": -3.0}
    verdict = judge(trial, {("as-run", 0): still, ("repaired", 0): still})
    assert (verdict.seen, verdict.holds) == ("open", "open")
    swings = {"early_swing": 5.0, "budget": 7.0}
    verdict = judge(trial, {("as-run", 0): swings, ("repaired", 0): swings})
    assert (verdict.seen, verdict.holds) == ("yes", "no")
