"""Penalties on derivatives, added and subtracted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from trainability.doctor.measure.slope_signs import falls_with_slopes

X = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))


def slopes(model: nn.Module, x: Tensor) -> Tensor:
    at = x.clone().requires_grad_()
    return torch.autograd.grad(model(at).sum(), at, create_graph=True)[0]


def penalty(model: nn.Module, x: Tensor) -> Tensor:
    return (slopes(model, x).norm(dim=1) - 1).square().mean()


def meta(model: nn.Module, x: Tensor) -> Tensor:
    """One step of gradient descent inside the loss, by the weights: it may do anything as it gets longer."""
    weight = model[0].weight
    (inner,) = torch.autograd.grad(model(x).square().mean(), [weight], create_graph=True)
    return -(weight - 0.1 * inner).square().sum()


class Quadratic(nn.Module):
    """Grows with the square of what it is given: a potential of optimal transport."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).square().sum(dim=1)


POTENTIAL = Quadratic()


@pytest.mark.parametrize(
    ("cost", "found"),
    [
        (lambda model, x: model(x).mean() - 10 * penalty(model, x), True),
        (lambda model, x: model(x).mean() + 10 * penalty(model, x), False),
        (lambda model, x: -(slopes(model, x)[:, 0] + model(x)[:, 0]).square().mean(), True),
        (lambda model, x: (slopes(model, x)[:, 0] + model(x)[:, 0]).square().mean(), False),
        (lambda model, x: -slopes(model, x).sum(dim=1).mean(), False),  # a force that is wanted: along a line
        (lambda model, x: model(x).square().mean(), False),
        (meta, False),
        (lambda model, x: POTENTIAL(x).mean() - POTENTIAL(slopes(model, x)).mean(), False),  # a map of optimal transport
    ],
)
def test_a_penalty_on_slopes_that_is_subtracted(cost: Callable[..., Tensor], found: bool) -> None:
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    assert falls_with_slopes(model, X, cost) is found
