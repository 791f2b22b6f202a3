"""Inputs that hold their own targets, beside those that only may."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from trainability.doctor import Evidence, diagnose
from trainability.doctor.audit_results import Relation
from trainability.doctor.measure.held import held_at
from trainability.doctor.measure.relation import relation

Pair = tuple[Tensor, Tensor]


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def windows(behind: int, stride: int = 1) -> Pair:
    """Windows of 12 of a random walk, in any order; the target stands so many places behind the last value."""
    series = drawn(900).cumsum(dim=0)
    cut = series.unfold(0, 20, stride)
    cut = cut[torch.randperm(len(cut), generator=torch.Generator().manual_seed(1))[:200]]
    return cut[:, :12], cut[:, 11 + behind]


def channels(time_first: bool) -> Pair:
    x, y = windows(0)
    both = torch.stack([torch.flip(x, (0,)), x], dim=2)
    return (both if time_first else both.transpose(1, 2)), y[:, None]


def table(mixed: bool, asked: Callable[[Tensor], Tensor]) -> Pair:
    x = drawn(300, 5)
    x = x @ drawn(5, 5) if mixed else x
    return x, asked(x)


CASES = {
    "present": (lambda: windows(0), ("windows", "[:, 11]")),
    "past": (lambda: windows(-3), ("windows", "[:, 8]")),
    "present of a stride": (lambda: windows(0, stride=4), ("windows", "[:, 11]")),
    "present of (steps, features)": (lambda: channels(True), ("windows", "[:, 11, 1]")),
    "present of (features, steps)": (lambda: channels(False), ("windows", "[:, 1, 11]")),
    "column": (lambda: table(True, lambda x: x[:, 3]), ("table", "[:, 3]")),
    "column in float64": (lambda: table(True, lambda x: x[:, 3:4].double()), ("table", "[:, 3]")),
    "next": (lambda: windows(1), None),
    "next of a series that hardly changes": (lambda: (windows(0)[0], windows(0)[1] + 1e-5), None),
    "first of a sequence": (lambda: (drawn(300, 9, 1), drawn(300, 9, 1)[:, 0, 0]), None),
    "column of random numbers": (lambda: table(False, lambda x: x[:, 3]), None),
    "most of a column": (lambda: table(True, lambda x: x[:, 3].clamp(max=1.5)), None),
    "kinds": (lambda: table(True, lambda x: x[:, 3].sign()), None),
    "all of a table": (lambda: table(True, lambda x: x), None),
    "several columns beside a condition": (lambda: table(True, lambda x: x[:, :3]), None),
    "one number": (lambda: (drawn(300, 1), drawn(300, 1)), None),
}


@pytest.mark.parametrize(("made", "held"), CASES.values(), ids=CASES)
def test_targets_that_the_inputs_hold(made: Callable[[], Pair], held: tuple[str, str] | None) -> None:
    x, y = made()
    assert held_at(x, y) == held
    found = relation(x, y)
    assert (found.held if found is not None else None) == held
    codes = [f.code for f in diagnose(Evidence(relation=Relation(num_examples=300, z=20.0, held=held))).findings]
    expected = {"windows": ["sees_future.present"], "table": ["sees_future.given"]}[held[0]] if held else []
    assert codes == expected
