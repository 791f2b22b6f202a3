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


def walks(ends: Rule, restarts: bool = True, width: int = 3, steps: int = 60, walkers: int = 64) -> TensorDataset:
    """Random walks that begin anew at an end, as states, actions, rewards, states after them and marks."""
    draw = torch.Generator().manual_seed(0)
    state, age = torch.randn(walkers, width, generator=draw), torch.zeros(walkers)
    rows = []
    for _ in range(steps):
        after = state + 0.3 * torch.randn(walkers, width, generator=draw)
        age = age + 1
        at = ends(after, age)
        rows.append((state, torch.zeros(walkers).long(), torch.ones(walkers), after, at.float()))
        again = at & torch.tensor(restarts)
        fresh = torch.randn(walkers, width, generator=draw)
        state, age = torch.where(again[:, None], fresh, after), torch.where(again, 0.0, age)
    return TensorDataset(*(torch.cat(column) for column in zip(*rows, strict=True)))


def fell(after: Tensor, age: Tensor) -> Tensor:
    return after[:, 0].abs() > 2


def fell_or_far(after: Tensor, age: Tensor) -> Tensor:
    return (after[:, 0].abs() > 2) | (after[:, 1].abs() > 2)


def late(after: Tensor, age: Tensor) -> Tensor:
    return age >= 12


def asked(dataset: TensorDataset, part: slice = slice(None)) -> float | None:
    kept = TensorDataset(*(column[part] for column in dataset.tensors))
    return ends_by_state("[0]", "[3]", "[4]", DataLoader(kept, batch_size=64, shuffle=True))


@pytest.mark.parametrize("ends", [fell, fell_or_far])
def test_a_fall_is_told_by_the_state(ends: Rule) -> None:
    assert (asked(walks(ends)) or 0.0) > 0.97


def test_a_limit_of_time_is_not() -> None:
    assert (asked(walks(late)) or 0.0) < 0.7


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
