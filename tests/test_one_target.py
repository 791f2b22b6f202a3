"""Outputs of several actions that are all asked for one number, beside sound losses of the same shapes."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.certain import facts_of


def found(loss: Any, batch: tuple[Tensor, ...], width: int = 3) -> str | None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, width))
    facts = facts_of(model, batch, training_step=lambda model, batch: loss(model(batch[0]), *batch[1:]))
    said = {f.code: f.severity for f in diagnose(Evidence(facts=facts)).findings}
    return said.get("target_broadcast.one_for_all")


def data(width: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(32, 4, generator=rng)
    return x, torch.randint(width, (32,), generator=rng), torch.randn(32, 1, generator=rng)


def quantiles(output: Tensor, target: Tensor) -> Tensor:
    gap = target - output
    return torch.maximum(0.1 * gap, -0.9 * gap).mean()


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize(
    ("loss", "severity"),
    [
        (lambda o, a, y: F.smooth_l1_loss(o, y), "warning"),
        (lambda o, a, y: F.mse_loss(o, y), "warning"),
        (lambda o, a, y: F.mse_loss(o.gather(1, a[:, None]), y), None),
        (lambda o, a, y: (F.mse_loss(o, y, reduction="none") * F.one_hot(a, 3)).sum(), None),
        (lambda o, a, y: F.mse_loss(o, y.expand_as(o)), None),  # an ensemble
        (lambda o, a, y: quantiles(o, y), None),
    ],
)
def test_goals_for_all_actions(loss: Any, severity: str | None) -> None:
    assert found(loss, data()) == severity


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_rewards_of_arms_and_numbers_that_name_no_output() -> None:
    x, _, y = data()
    assert found(lambda o, y: F.mse_loss(o, y), (x, y)) == "hint"
    assert found(lambda o, a, y: F.mse_loss(o, y), (x, torch.arange(32), y)) == "hint"  # rows of a table
    assert found(lambda o, a, y: F.huber_loss(o, y), data(6), width=6) == "warning"
    assert found(lambda o, a, y: F.mse_loss(o, y), (x, torch.zeros(32, dtype=torch.long), y), width=1) is None
