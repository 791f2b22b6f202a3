"""Optimizers with `maximize=True`: what they raise is minus a loss."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import check
from trainability.doctor import Monitor, diagnose

RNG = torch.Generator().manual_seed(0)
X = torch.randn(1200, 10, generator=RNG)
Y = (X @ torch.randn(10, 4, generator=RNG)).argmax(dim=1)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4))


def negated(output: Tensor, target: Tensor) -> Tensor:
    return -F.cross_entropy(output, target)


CASES = [(negated, True, []), (F.cross_entropy, True, ["wrong_sign"]), (negated, False, ["wrong_sign"])]


@pytest.mark.parametrize(("loss_fn", "raised", "rules"), CASES)
def test_what_is_raised_is_minus_a_loss(loss_fn: Callable[..., Tensor], raised: bool, rules: list[str]) -> None:
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, maximize=raised)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 50)
    loader = DataLoader(TensorDataset(X, Y), 60, shuffle=True)
    before = [p.clone() for p in model.parameters()]
    found = check(model, loader, loss_fn, optimizer, scheduler=scheduler)
    assert [f.rule for f in found.findings if f.severity != "hint"] == rules
    assert found.verdict == ("broken loss" if rules else "will train")
    assert all(("maximize=True" in f.remedy) == raised for f in found.findings if f.rule == "wrong_sign")
    assert optimizer.param_groups[0]["maximize"] is raised
    assert not optimizer.state
    assert scheduler.optimizer is optimizer
    assert all(torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize(("loss_fn", "raised", "rules"), CASES)
def test_a_monitor_records_what_is_lowered(loss_fn: Callable[..., Tensor], raised: bool, rules: list[str]) -> None:
    model = net()
    optimizer: Any = torch.optim.SGD(model.parameters(), lr=0.1, maximize=raised)
    values = []
    with Monitor(model, optimizer) as monitor:
        for x, y in zip(X.split(60), Y.split(60), strict=True):
            optimizer.zero_grad()
            value = loss_fn(model(x), y)
            value.backward()
            monitor.after_backward(value)
            optimizer.step()
            values.append(value.item())
    evidence = monitor.evidence()
    assert [step.loss for step in evidence.steps] == pytest.approx([-v if raised else v for v in values])
    if not (raised and rules):  # it has no value of a known loss to go by, so early
        assert [f.rule for f in diagnose(evidence).findings if f.severity == "error"] == rules
