"""Outputs that the last function limits, beside targets within and beyond its limits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.certain import facts_of

G = torch.Generator().manual_seed(0)
X = torch.randn(64, 6, generator=G)
Y = X @ torch.randn(6, 1, generator=G)
SHARES = Y.sigmoid()

Limit = Callable[[Tensor], Tensor]


class Net(nn.Module):
    def __init__(self, limit: Limit) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers, self.limit = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1)), limit

    def forward(self, x: Tensor) -> Tensor:
        return self.limit(self.layers(x))


CASES: dict[str, tuple[Limit, Tensor, bool]] = {
    "clamp": (lambda o: o.clamp(-0.5, 0.5), Y, True),
    "from below": (lambda o: o.clamp(min=0.0), Y, True),
    "from above": (lambda o: torch.clip(o, max=0.1), Y, True),
    "Hardtanh": (nn.Hardtanh(), 3 * Y, True),
    "ReLU6": (nn.ReLU6(), Y + 10, True),
    "in a column": (lambda o: o.clamp(-0.5, 0.5).view(-1, 1), Y, True),
    "shares": (lambda o: o.clamp(0, 1), SHARES, False),
    "shares with noise": (lambda o: o.clamp(0, 1), SHARES + 0.02 * X[:, :1], False),
    "far away": (lambda o: o.clamp(-10, 10), Y, False),
    "a few outliers": (lambda o: o.clamp(-10, 10), torch.where(torch.arange(64)[:, None] == 7, 11.0, Y), False),
    "scaled behind it": (lambda o: 10 * o.clamp(-1, 1), Y, False),
    "in the middle": (lambda o: o.clamp(-1, 1) + o, Y, False),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("loss", [F.mse_loss, F.l1_loss, F.smooth_l1_loss])
def test_targets_beyond_the_limits(name: str, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    limit, targets, found = CASES[name]
    facts = facts_of(Net(limit), (X, targets), loss_fn=loss)
    codes = [f.code for f in diagnose(Evidence(facts=facts)).findings if f.severity != "hint"]
    assert ("unreachable_target.limits" in codes) is found
    assert facts.notes == ()
