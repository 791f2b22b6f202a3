"""Tensors with a gradient that modules hold as they are: meant to be parameters where no layer is given them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainability import Setup, check


class Factors(nn.Module):
    """A factorization machine.

    Args:
        way: how the factors are held: "tensor", "parameter", "frozen", or "converted" from a parameter.
    """

    def __init__(self, way: str) -> None:
        super().__init__()
        self.linear = nn.Parameter(torch.zeros(30))
        factors = 0.1 * torch.randn(30, 4)
        if way == "converted":
            self.factors = nn.Parameter(factors.double()).float()
        else:
            self.factors = nn.Parameter(factors) if way == "parameter" else factors.requires_grad_(way != "frozen")

    def forward(self, index: Tensor) -> Tensor:
        v = self.factors[index]
        return self.linear[index].sum(1) + 0.5 * (v.sum(1).square() - v.square().sum(1)).sum(1)


class Points(nn.Module):
    """A net that holds the points at which its derivative is asked, as physics-informed nets do."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
        self.points = torch.linspace(0, 1, 32)[:, None].requires_grad_()

    def residual(self) -> Tensor:
        u = self.net(self.points)
        (slope,) = torch.autograd.grad(u.sum(), self.points, create_graph=True)
        return (slope + u).square().mean() + (u[0] - 1).square().mean()


def codes(setup: Setup) -> list[str]:
    return [f.code for f in check(setup).findings if f.severity != "hint"]


@pytest.mark.parametrize(
    ("way", "in_optimizer", "fires"),
    [
        ("tensor", False, True),
        ("tensor", True, False),
        ("parameter", False, False),
        ("frozen", False, False),
        ("converted", False, True),
    ],
)
def test_a_plain_tensor_that_is_trained_is_to_be_a_parameter(way: str, in_optimizer: bool, fires: bool) -> None:
    torch.manual_seed(0)
    index = torch.randint(30, (600, 3))
    target = (index.sum(1) % 2).float()
    model = Factors(way)
    held = [*model.parameters(), *([model.factors] if in_optimizer else [])]
    batches = list(zip(index.split(60), target.split(60), strict=True))
    setup = Setup(
        model=model,
        train_loader=batches,
        loss_fn=nn.BCEWithLogitsLoss(),
        optimizer=torch.optim.Adam(held, lr=1e-2),
        rehearse_seconds=2,
    )
    assert ("unregistered_layers" in codes(setup)) is fires


def test_points_of_a_differential_equation_are_no_parameters() -> None:
    torch.manual_seed(0)
    model = Points()

    def training_step(model: Any, batch: Any) -> Tensor:
        return model.residual()

    setup = Setup(
        model=model,
        train_loader=[torch.zeros(1)] * 50,
        training_step=training_step,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
        rehearse_seconds=2,
    )
    assert "unregistered_layers" not in codes(setup)
