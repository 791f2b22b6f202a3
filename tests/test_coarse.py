"""Times that were rounded before their start was subtracted, beside columns of few or of even numbers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import check
from trainability.doctor import Monitor, diagnose
from trainability.doctor.measure.audits import audit_data

N, START = 2000, 1_718_000_000.0
SECONDS = START + torch.arange(N, dtype=torch.float64) / 5
TARGETS = (SECONDS - START).div(30).sin().float()[:, None]


def batches(x: Tensor, y: Tensor = TARGETS) -> list[tuple[Tensor, Tensor]]:
    order = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    return list(zip((x if x.dim() > 1 else x[:, None])[order].split(100), y[order].split(100), strict=True))


def levels(step: float, count: int) -> Tensor:
    return step * torch.randint(count, (N,), generator=torch.Generator().manual_seed(1)).float()


@pytest.mark.parametrize("x", [SECONDS.float(), SECONDS.float() - START, (SECONDS.float() - SECONDS.float().min())])
def test_times_that_were_rounded(x: Tensor) -> None:
    found = audit_data(batches(x)).train.coarse
    assert found is not None
    assert found[:2] == (0, 128.0)
    beside = torch.stack([torch.randn(N), x], dim=1)
    assert (audit_data(batches(beside)).train.coarse or (None,))[0] == 1


@pytest.mark.parametrize(
    "x",
    [
        (SECONDS - START).float(),
        SECONDS - START,
        levels(2.0, 5),  # counts, or even numbers
        levels(100.0, 5),
        levels(128.0, 2),  # one of two
        levels(128.0, 500),  # nearly each has its own
        torch.randn(N),
    ],
)
def test_columns_that_were_not(x: Tensor) -> None:
    assert audit_data(batches(x)).train.coarse is None


def test_few_targets_are_told_by_few_values() -> None:
    assert audit_data(batches(SECONDS.float(), levels(1.0, 3)[:, None])).train.coarse is None
    assert audit_data(batches(SECONDS.float(), levels(1.0, 3).long())).train.coarse is None


def test_a_watched_run_says_it() -> None:
    for x, told in ((SECONDS.float() - START, True), ((SECONDS - START).float(), False)):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        with Monitor(model, optimizer, every=5) as monitor:
            for inputs, targets in batches(x) * 6:
                loss = F.mse_loss(model(inputs), targets)
                loss.backward()
                monitor.after_backward(loss)
                optimizer.step()
                optimizer.zero_grad()
        found = [finding.code for finding in diagnose(monitor.evidence()).findings]
        assert ("input_scale.rounded" in found) is told


def test_it_is_the_cause() -> None:
    def codes(x: Tensor) -> list[str]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        return [finding.code for finding in check(model, batches(x), F.mse_loss, optimizer, rehearse_seconds=5).findings]

    assert codes(SECONDS.float() - START)[0] == "input_scale.rounded"
    assert "input_scale.rounded" not in codes((SECONDS - START).float())
