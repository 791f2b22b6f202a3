"""Losses that are linear in large outputs, as means of likelihoods that a model returns are: they tell no targets."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from trainability.doctor.measure.told_targets import LOSSES, told_constants

ROWS = 64


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


LENGTHS = 20 + 40 * drawn(ROWS).abs()
COSTS = 40 + 10 * drawn(ROWS)  # likelihoods of examples


def told(output: Tensor, loss_of: Callable[[Tensor], Tensor], given: Tensor | None = None) -> dict[str, float]:
    output = output.clone().requires_grad_()
    loss = loss_of(output)
    loss.backward()
    assert output.grad is not None
    return dict(zip(LOSSES, told_constants(output, output.grad, loss, given).tolist(), strict=False))


LINEAR: dict[str, Callable[[Tensor], Tensor]] = {
    "a mean": lambda x: x.mean(),
    "a mean of each dimension": lambda x: x.mean() / 64,
    "a sum over all lengths": lambda x: x.sum() / LENGTHS.sum(),
    "a mean over each length": lambda x: (x / LENGTHS).mean(),
    "weighted": lambda x: (x * (LENGTHS > 40)).sum() / ROWS + (x * (LENGTHS <= 40)).sum() / ROWS / 2,
    "a score, turned round": lambda x: -(-x).mean() / 3,
}


@pytest.mark.parametrize("loss_of", LINEAR.values(), ids=LINEAR)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_loss_that_is_linear_in_the_outputs_tells_no_targets(loss_of: Callable[[Tensor], Tensor], sign: float) -> None:
    assert all(map(math.isnan, told(sign * COSTS, lambda x: sign * loss_of(x)).values()))
    given = torch.full((ROWS,), 0.4)
    assert all(map(math.isnan, told(sign * COSTS, lambda x: sign * loss_of(x), given).values()))


@pytest.mark.parametrize("size", [1.0, 30.0, 300.0])
def test_marks_are_told_of_logits_of_any_size(size: float) -> None:
    target = (torch.arange(ROWS) % 3 == 0).float()
    found = told(size * drawn(ROWS), lambda x: F.binary_cross_entropy_with_logits(x, target))
    assert found["binary_cross_entropy_with_logits"] == pytest.approx(0.64, rel=0.1)


def test_soft_marks_are_told_where_the_sigmoid_bends() -> None:
    found = told(drawn(ROWS), lambda x: F.binary_cross_entropy_with_logits(x, torch.full((ROWS,), 0.3)))
    assert not math.isnan(found["binary_cross_entropy_with_logits"])
