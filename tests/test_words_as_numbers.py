"""Whole numbers that go into a layer as they are: words, and amounts that a model or its loss treats as such."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.measure.forward_pass import ForwardPass


class Net(nn.Module):
    """A table of shops, and a layer that is given what a function makes of whole numbers."""

    def __init__(self, made: Callable[[Tensor], Tensor], *, recurrent: bool = False) -> None:
        super().__init__()
        self.made, self.shop = made, nn.Embedding(80, 6)
        self.net = nn.GRU(1, 3, batch_first=True) if recurrent else nn.Linear(14 + 6, 3)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        made = self.made(batch["numbers"])
        if isinstance(self.net, nn.GRU):
            return self.net(made[:, :, None])[0][:, -1]
        return self.net(torch.cat([self.shop(batch["shop"]), made], 1))


def found(net: Net, loss: Callable[[Tensor, dict[str, Tensor]], Tensor], *, floats: bool = False) -> dict[str, Any]:
    rng = torch.Generator().manual_seed(0)
    numbers = torch.randint(0, 5000, (32, 14), generator=rng)
    batch = {"shop": torch.randint(80, (32,), generator=rng), "numbers": numbers.float() if floats else numbers}
    with ForwardPass(net, batch) as seen:
        loss(net(batch), batch)
    return seen.facts()


def of_classes(output: Tensor, batch: dict[str, Tensor]) -> Tensor:
    return F.cross_entropy(output, batch["shop"] % 3)


@pytest.mark.parametrize("recurrent", [False, True])
def test_words_that_a_layer_takes_for_quantities_are_told_with_that_layer(recurrent: bool) -> None:
    facts = found(Net(lambda x: x.float(), recurrent=recurrent), of_classes)
    # A table beside them looks up other numbers.
    assert facts["numbers_for_words"] > 4000
    assert facts["number_layer"] == "net"
    facts = found(Net(lambda x: x, recurrent=True), of_classes, floats=True)
    assert facts["number_layer"] == "net"


AMOUNTS: dict[str, Callable[[Tensor], Tensor]] = {
    "logarithms": lambda x: torch.log1p(x.float()) - 5,
    "scaled": lambda x: x * 1e-3,
    "divided": lambda x: x / 1000,
    "standardised": lambda x: (x.float() - x.float().mean(0)) / x.float().std(0),
    "shares": lambda x: F.normalize(x.float(), dim=1),
    "roots": lambda x: x.float().sqrt(),
    "looked up": lambda x: F.one_hot(x % 4, 4).float()[..., 0],
}


@pytest.mark.parametrize("name", AMOUNTS)
@pytest.mark.parametrize("recurrent", [False, True])
def test_amounts_are_no_words(name: str, recurrent: bool) -> None:
    assert found(Net(AMOUNTS[name], recurrent=recurrent), of_classes)["numbers_for_words"] is None


def test_what_the_loss_takes_for_amounts_are_no_words() -> None:
    def next_count(output: Tensor, batch: dict[str, Tensor]) -> Tensor:
        return F.poisson_nll_loss(output[:, 0], batch["numbers"][:, -1])

    assert found(Net(lambda x: x[:, :-1], recurrent=True), next_count, floats=True)["numbers_for_words"] is None
