"""A head that starts near zero on purpose is moved by more than its size at once, and has hardly anything to lose."""

import math

import pytest
import torch
from torch import nn

from trainability import Setup, check


@pytest.mark.parametrize(("lr", "is_sound"), [(0.02, True), (20.0, False)])
def test_a_small_head_may_be_moved_by_more_than_its_size(lr: float, is_sound: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(1000, 6)
    y = torch.poisson((6.0 + 0.5 * x[:, 0] - 0.3 * x[:, 1].abs()).exp())
    head = nn.Linear(48, 1)
    nn.init.normal_(head.weight, std=0.01)
    nn.init.constant_(head.bias, math.log(float(y.mean())))
    model = nn.Sequential(nn.Linear(6, 48), nn.ELU(), nn.Linear(48, 48), nn.ELU(), head, nn.Flatten(0))
    found = check(
        Setup(
            model=model,
            train_loader=list(zip(x.split(50), y.split(50), strict=True)),
            loss_fn=nn.PoissonNLLLoss(log_input=True),
            optimizer=torch.optim.Adagrad(model.parameters(), lr=lr),
            rehearse_seconds=2,
        )
    )
    assert ("exploding_gradient" not in {f.code for f in found.findings if f.severity != "hint"}) is is_sound
