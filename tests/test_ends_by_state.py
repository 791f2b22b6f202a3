"""Marks of episodes that end where their state says so, beside those that a limit of time cuts, and marks of something else."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from trainability.doctor import Evidence, diagnose
from trainability.doctor.facts import Facts
from trainability.doctor.measure.ends_by_state import ends_by_state

Rule = Callable[[Tensor, Tensor], Tensor]


def walks(
    ends: Rule, restarts: bool = True, steps: int = 60, drift: float = 0.0, step: float = 0.3, ages: int = 1, clock: float = 0.0
) -> TensorDataset:
    """Random walks that begin anew at an end, as states, actions, rewards, states after them and marks.

    Args:
        ends: of states and ages, whether an episode ends there.
        restarts: at an end.
        steps: of each of the 64 walkers.
        drift: of the last column, at each step.
        step: how long each is, at random.
        ages: of the walkers when the log begins, below this, at random.
        clock: how much a fourth column goes up at each step; it starts anywhere below 12. 0 for no such column.
    """
    draw = torch.Generator().manual_seed(0)
    walkers, width = 64, 3
    state, age = torch.randn(walkers, width, generator=draw), torch.randint(ages, (walkers,), generator=draw).float()
    state[:, -1] += drift * age
    if clock:
        state = torch.cat([state, torch.randint(12, (walkers, 1), generator=draw)], dim=1)
    rows = []
    for _ in range(steps):
        after = state.clone()
        after[:, :width] += step * torch.randn(walkers, width, generator=draw)
        after[:, 2] += drift
        after[:, width:] += clock
        age = age + 1
        at = ends(after, age)
        rows.append((state, torch.zeros(walkers).long(), torch.ones(walkers), after, at.float()))
        again = at & torch.tensor(restarts)
        fresh = torch.randn(walkers, width, generator=draw)
        if clock:
            fresh = torch.cat([fresh, torch.randint(12, (walkers, 1), generator=draw)], dim=1)
        state, age = torch.where(again[:, None], fresh, after), torch.where(again, 0.0, age)
    return TensorDataset(*(torch.cat(column) for column in zip(*rows, strict=True)))


def fell(after: Tensor, age: Tensor) -> Tensor:
    return after[:, 0].abs() > 2


def fell_or_far(after: Tensor, age: Tensor) -> Tensor:
    return (after[:, 0].abs() > 2) | (after[:, 1].abs() > 2)


def late(after: Tensor, age: Tensor) -> Tensor:
    return age >= 12


def at_night(after: Tensor, age: Tensor) -> Tensor:
    return after[:, 3] >= 24


def asked(dataset: TensorDataset, part: slice = slice(None)) -> float | None:
    kept = TensorDataset(*(column[part] for column in dataset.tensors))
    return ends_by_state("[0]", "[3]", "[4]", DataLoader(kept, batch_size=64, shuffle=True))


@pytest.mark.parametrize("ends", [fell, fell_or_far])
def test_a_fall_is_told_by_the_state(ends: Rule) -> None:
    assert (asked(walks(ends)) or 0.0) > 0.97


@pytest.mark.parametrize("options", [{}, {"drift": 0.2}, {"drift": 1.0}, {"clock": 1.0}])
def test_a_fall_is_told_beside_what_drifts(options: dict[str, float]) -> None:
    assert (asked(walks(fell, **options)) or 0.0) > 0.97


@pytest.mark.parametrize("drift", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("ages", [1, 12])
def test_a_limit_of_time_is_not(drift: float, ages: int) -> None:
    assert asked(walks(late, drift=drift, ages=ages)) is None


def test_a_limit_of_time_with_missing_examples_is_not() -> None:
    whole = walks(late, drift=1.0, step=0.1)
    kept = torch.rand(len(whole), generator=torch.Generator().manual_seed(0)) > 0.1
    assert asked(TensorDataset(*(column[kept] for column in whole.tensors))) is None


def test_examples_that_are_drawn_again_are_counted_once() -> None:
    for ends, told in ((fell, True), (late, False)):
        twice = TensorDataset(*(torch.cat([column, column]) for column in walks(ends, drift=1.0, steps=50).tensors))
        assert ((asked(twice) or 0.0) > 0.97) is told


def test_a_clock_may_be_what_cuts_episodes_off() -> None:
    assert (asked(walks(at_night, clock=1.0)) or 0.0) < 0.7


def test_marks_after_which_walks_go_on_are_of_something_else() -> None:
    assert asked(walks(fell, restarts=False)) is None


def test_few_of_many_rows_do_not_tell_what_goes_on() -> None:
    assert asked(walks(fell), slice(0, None, 40)) is None


def test_other_batches_are_left_alone() -> None:
    other = [(torch.randn(64, 3), torch.randn(64))]
    assert ends_by_state("[0]", "[3]", "[4]", other) is None
    assert ends_by_state("[0]", "[3]", "[4]", []) is None


@pytest.mark.parametrize(("area", "severity"), [(0.97, "warning"), (0.96, "hint"), (None, "hint")])
def test_what_the_state_tells_is_a_warning(area: float | None, severity: str) -> None:
    facts = dataclasses.replace(Facts(), unread_ends=("[4]", 1.0), ends_by_state=area)
    (found,) = [f for f in diagnose(Evidence(facts=facts)).findings if f.rule == "unread_ends"]
    assert found.severity == severity
