"""A layer normalisation behind the last layer, and sound models that look like one."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.certain import facts_of

RNG = torch.Generator().manual_seed(0)
X = torch.randn(64, 6, generator=RNG)


def codes(model: nn.Module, loss: Any, target: Tensor) -> list[str]:
    facts = facts_of(model, (X, target), loss_fn=loss)
    return [f.code for f in diagnose(Evidence(facts=facts)).findings if f.rule == "unreachable_target"]


def net(*last: nn.Module, width: int = 2) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, width), *last)


def numbers(width: int) -> Tensor:
    return torch.randn(64, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("loss", [F.mse_loss, F.l1_loss, lambda a, b: (a - b).square().mean()])
@pytest.mark.parametrize("width", [2, 5])
def test_answers_of_one_size(loss: Any, width: int) -> None:
    assert codes(net(nn.LayerNorm(width), width=width), loss, numbers(width)) == ["unreachable_target.normalised"]


@pytest.mark.parametrize(
    ("model", "loss", "target"),
    [
        (net(), F.mse_loss, numbers(2)),
        (net(nn.LayerNorm(2), nn.Linear(2, 2)), F.mse_loss, numbers(2)),  # the last layer is behind it
        (net(nn.LayerNorm(256), width=256), F.mse_loss, numbers(256)),  # targets of nearly one size, such as features
        (net(nn.LayerNorm(4), width=4), F.mse_loss, F.normalize(numbers(4) - numbers(4).mean(1, keepdim=True)) * 2),
        # rows that were normalised themselves, of columns that differ in spread
        (
            net(nn.LayerNorm(6), width=6),
            F.mse_loss,
            F.layer_norm(numbers(6) * torch.arange(1.0, 7.0) + torch.arange(6.0), (6,)),
        ),
        (net(nn.LayerNorm(3), width=3), F.cross_entropy, torch.arange(64) % 3),  # logits with a scale of their own
        (net(nn.BatchNorm1d(2)), F.mse_loss, numbers(2)),
    ],
)
def test_sound_ones(model: nn.Module, loss: Any, target: Tensor) -> None:
    assert codes(model, loss, target) == []
