"""The terms that a loss is the sum of, however the sum is written."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from trainability.doctor.measure.terms import Terms


def written_out(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return a + b + c


def added_up(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    total: float | Tensor = 0.0
    for term in (a, b, c):
        total += term
    assert isinstance(total, Tensor)
    return total


def written_over(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    a += b
    return a.add_(c)


def pairs_first(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    both = a + b
    a += c  # is no part of the loss
    return both + c


@pytest.mark.parametrize("add", [written_out, added_up, written_over, pairs_first])
def test_a_sum_has_its_terms_also_where_it_is_written_over_one(add: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    model, x = nn.Linear(3, 1), torch.randn(16, 3)

    def powers(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        output = model(batch)
        return output.mean(), (output**2).mean(), (output**4).mean()

    seen = Terms.of(model, x, lambda model, batch: add(*powers(model, batch)))
    expected = sorted(term.item() for term in powers(model, x))
    assert sorted(term.item() for term in seen.of_loss()) == pytest.approx(expected)
    assert seen.loss.item() == pytest.approx(sum(expected))
