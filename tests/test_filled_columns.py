"""One number, far from all others, in the place of values that are missing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from trainability.doctor.measure.filled_columns import FilledColumns

N = 1000


def drawn() -> Tensor:
    return torch.randn(N, 3, generator=torch.Generator().manual_seed(0))


def with_value(value: float, rows: int = 30, column: int = 1) -> Callable[[Tensor], Tensor]:
    def change(x: Tensor) -> Tensor:
        x[torch.arange(rows) * 7, column] = value
        return x

    return change


def scaled(x: Tensor) -> Tensor:
    x = with_value(-9999.0)(10 * x + 50)
    return (x - x.mean(dim=0)) / x.std(dim=0)


@pytest.mark.parametrize(
    ("change", "columns"),
    [
        (with_value(-9999.0), [1]),
        (with_value(999.0), [1]),
        (scaled, [1]),
        (lambda x: with_value(0.0)(1013 + 8 * x), [1]),  # of a pressure
        (with_value(0.0), []),
        (with_value(-4.0), []),  # the end of a tail
        (with_value(-9999.0, rows=2), []),  # an outlier
        (lambda x: x.clamp(-1, 1), []),  # many at the ends
        (lambda x: x.relu(), []),
        (lambda x: x.exp().exp(), []),
        (lambda x: (x > 1.5).float(), []),  # marks
        (lambda x: torch.where(x > 1.5, 100.0, x.round()), []),  # few values: categories
        (lambda x: x.view(N, 3, 1), []),  # no table
    ],
)
def test_a_number_that_stands_for_missing_values(change: Callable[[Tensor], Tensor], columns: list[int]) -> None:
    follower, rows = FilledColumns(), change(drawn())
    for batch in rows.split(100):
        follower.add(batch)
    assert [place for place, *_ in follower.found()] == columns
