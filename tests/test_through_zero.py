"""Regression by a net without biases, each beside sound ones that look like it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import check


def net(*, bias: bool = False, norm: bool = False, columns: int = 2) -> nn.Module:
    torch.manual_seed(0)
    middle = nn.LayerNorm(32) if norm else nn.Identity()
    return nn.Sequential(nn.Linear(columns, 32, bias=bias), middle, nn.ReLU(), nn.Linear(32, 1, bias=bias))


def rows(target: Callable[[Tensor], Tensor], columns: int = 2) -> DataLoader:
    x = torch.rand(800, columns, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return DataLoader(TensorDataset(x, target(x)[:, None]), 64, shuffle=True)


def bumps(x: Tensor) -> Tensor:
    return torch.exp(-6 * (x[:, :2] - 0.4).square().sum(1)) - torch.exp(-6 * (x[:, :2] + 0.4).square().sum(1)) + 0.5


@pytest.mark.parametrize(
    ("model", "loader", "told"),
    [
        (net(), rows(bumps), True),
        (net(bias=True), rows(bumps), False),
        (net(norm=True), rows(bumps), False),  # whose scale and shift are biases
        (net(), rows(lambda x: x.abs().sum(1)), False),  # as far as the net goes
        (net(), rows(lambda x: x[:, 0] + 0.05 * torch.randn(len(x))), False),
        (net(), rows(lambda x: torch.randn(len(x))), False),  # nothing goes with the inputs
        (nn.Sequential(nn.Linear(2, 32, bias=False), nn.Sigmoid(), nn.Linear(32, 1, bias=False)), rows(bumps), False),
        (net(columns=12), rows(bumps, 12), False),
    ],
)
def test_targets_that_do_not_grow_with_the_inputs(model: nn.Module, loader: DataLoader, told: bool) -> None:
    before = [p.clone() for p in model.parameters()]
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    found = check(model, loader, F.mse_loss, optimizer, rehearse_seconds=3.0)
    assert ("unreachable_target.through_zero" in [f.code for f in found.findings]) is told
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert model.training
