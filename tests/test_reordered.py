"""Outputs that come back in another order than the examples."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import trainability
from trainability.doctor.measure.influence import comes_back_in_another_order

X = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))


class Sorts(nn.Module):
    """Sorts its examples by their first number, and may put them back."""

    def __init__(self, *, puts_back: bool, mixes: bool = False) -> None:
        super().__init__()
        self.layer, self.puts_back, self.mixes = nn.Linear(6, 3), puts_back, mixes

    def forward(self, x: Tensor) -> Tensor:
        order = x[:, 0].argsort()
        out = self.layer(x[order])
        out = out - out.mean(dim=0) if self.mixes else out
        return out[order.argsort()] if self.puts_back else out


class Encoded(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.arange(len(x))[:, None]


ORDERS = pytest.mark.parametrize(
    ("model", "found"),
    [
        (Sorts(puts_back=False), True),
        (Sorts(puts_back=True), False),
        (Sorts(puts_back=True, mixes=True), False),
        (Sorts(puts_back=False, mixes=True), True),
        (Encoded(), False),
    ],
)


@ORDERS
def test_an_order_of_rows_of_one_number(model: nn.Module, found: bool) -> None:
    class First(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return model(x)[:, 0]

    with torch.no_grad():
        assert comes_back_in_another_order(First(), (X,)) is found


@ORDERS
def test_an_order_that_is_not_put_back(model: nn.Module, found: bool) -> None:
    with torch.no_grad():
        assert comes_back_in_another_order(model, (X,)) is found


@pytest.mark.parametrize("returns_order", [False, True])
def test_an_order_that_is_returned_may_be_that_of_the_targets(returns_order: bool) -> None:
    y = (X[:, 1] > 0).long()

    class Ordered(Sorts):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor] | Tensor:
            out = super().forward(x)
            return (out, x[:, 0].argsort()) if returns_order else out

    def step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        if not returns_order:
            return nn.functional.cross_entropy(model(batch[0]), batch[1])
        out, order = model(batch[0])
        return nn.functional.cross_entropy(out, batch[1][order])

    model = Ordered(puts_back=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    found = trainability.check(model, [(X, y)], optimizer=optimizer, training_step=step).findings
    assert ("batch_leakage.reordered" in {finding.code for finding in found}) == (not returns_order)
