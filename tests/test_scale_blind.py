"""Splits of another scale, and models to which that makes no difference."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import check


class Standardise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean((1, 2, 3), keepdim=True)) / (x.std((1, 2, 3), keepdim=True) + 1e-5)


class Nothing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class Reversible(nn.Module):
    """Takes the mean and the deviation of each series away, and puts them back into its forecast."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        mean, std = x.mean(1, keepdim=True), x.std(1, keepdim=True) + 1e-6
        return self.layer((x - mean) / std) * std + mean


FIRST = {
    "by hand": (Standardise(), True),
    "instance norm": (nn.InstanceNorm2d(1), True),
    "layer norm": (nn.LayerNorm([1, 8, 8]), True),
    "group norm": (nn.GroupNorm(1, 1), True),
    "batch norm": (nn.BatchNorm2d(1), False),  # by the statistics of training
    "nothing": (Nothing(), False),
}


def codes(model: nn.Module, x: Tensor, y: Tensor, other: Tensor, loss: Any) -> list[str]:
    half = len(x) // 2
    train, held_out = TensorDataset(x[:half], y[:half]), TensorDataset(other[half:], y[half:])
    found = check(
        model,
        DataLoader(train, 32, shuffle=True),
        loss,
        optimizer=torch.optim.Adam(model.parameters(), 1e-3),
        val_loader=DataLoader(held_out, 100),
        rehearse_seconds=0.0,
    )
    return [f.code for f in found.findings if f.code == "split_shift"]


@pytest.mark.parametrize("first", FIRST)
def test_a_shift_that_the_model_takes_away_itself(first: str) -> None:
    torch.manual_seed(0)
    norm, takes_away = FIRST[first]
    y = torch.arange(800) % 4
    x = torch.rand(800, 1, 8, 8) * 0.3 + torch.rand(4, 1, 8, 8)[y]
    model = nn.Sequential(norm, nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))
    assert codes(model, x, y, 1 + 0.4 * x, F.cross_entropy) == ([] if takes_away else ["split_shift"])
    assert codes(model, x, y, x, F.cross_entropy) == []


@pytest.mark.parametrize("is_reversible", [True, False])
def test_a_forecast_that_is_put_back_to_its_own_scale(is_reversible: bool) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(800, 12).cumsum(1), torch.randn(800, 12)
    model = Reversible() if is_reversible else nn.Linear(12, 12)
    assert codes(model, x, y, x * 3 + 20, F.mse_loss) == ([] if is_reversible else ["split_shift"])
