"""Losses in own code that count an error on the rarer of two labels for less than one on the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import check

G = torch.Generator().manual_seed(0)
X = torch.randn(640, 6, generator=G)
Y = (X[:, 0] > 1.3).float()  # a tenth


def focal(alpha: float, gamma: float = 2.0) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(out: Tensor, y: Tensor) -> Tensor:
        cost = F.binary_cross_entropy_with_logits(out, y, reduction="none")
        weight = alpha * y + (1 - alpha) * (1 - y)
        return (weight * (1 - torch.exp(-cost)) ** gamma * cost).mean()

    return loss


def of_probabilities(weight: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda p, y: -(weight * y * p.clamp(1e-6).log() + (1 - y) * (1 - p).clamp(1e-6).log()).mean()


def generalised(out: Tensor, y: Tensor, q: float = 0.7) -> Tensor:
    right = torch.where(y > 0.5, out.sigmoid(), (-out).sigmoid())
    return ((1 - right**q) / q).mean()


def ranked(out: Tensor, y: Tensor) -> Tensor:
    return F.softplus(out[y == 0][None] - out[y == 1][:, None]).mean()


def quantile(out: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(0.1 * (y - out), 0.9 * (out - y)).mean()


# The loss, whether the model ends in a sigmoid, targets; and the rarer label's pull over the other's, where that is told.
WAYS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], bool, Tensor, float | None]] = {
    "focal, exchanged": (focal(0.1), False, Y, 1 / 9),
    "focal, exchanged, zeros are rare": (focal(0.9), False, 1 - Y, 1 / 9),
    "weights of probabilities": (of_probabilities(0.1), True, Y, 0.1),
    "focal": (focal(0.9), False, Y, None),
    "focal, as published": (focal(0.25), False, Y, None),
    "neither is rare": (focal(0.1), False, (X[:, 0] > 0.3).float(), None),
    "robust to noise": (generalised, False, Y, None),
    "smoothed": (lambda out, y: F.binary_cross_entropy_with_logits(out, 0.8 * y + 0.1), False, Y, None),
    "pairs": (ranked, False, Y, None),
    "a quantile of an amount": (quantile, False, X[:, 0] + Y, None),
}


@pytest.mark.parametrize("way", WAYS)
def test_errors_on_the_rarer_label_count_for_less(way: str) -> None:
    loss_of, has_sigmoid, y, pull = WAYS[way]
    torch.manual_seed(0)
    end: tuple[Any, ...] = (nn.Sigmoid(),) if has_sigmoid else ()
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1), *end, nn.Flatten(0))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    report = check(model, DataLoader(TensorDataset(X, y), 80), loss_of, optimizer, rehearse_seconds=2)
    told = [f for f in report.findings if f.code == "class_imbalance.weights"]
    assert [f.severity for f in told] == ["hint"] * (pull is not None)
    assert [f.measurements[0].value for f in told] == ([] if pull is None else [pytest.approx(pull, rel=1e-3)])
