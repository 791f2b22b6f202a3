"""The guarded step against torch's own optimizer and clipping."""

import copy

import pytest
import torch
from torch import nn

from trainability.config import OptimConfig
from trainability.training.optimizer import GuardedStep, build_optimizer


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("nesterov", [True, False])
def test_equals_plain_sgd_with_clip_grad_norm(fused: bool, clip: float | None, nesterov: bool) -> None:
    optim = OptimConfig(momentum=0.9, nesterov=nesterov, weight_decay=1e-2, clip=clip)
    ours, theirs = network(), network()
    step_once = GuardedStep(build_optimizer(ours, optim, fused=fused), clip, torch.device("cpu"))
    plain = torch.optim.SGD(theirs.parameters(), lr=1, momentum=0.9, nesterov=nesterov, weight_decay=1e-2)
    for number in range(5):
        images = torch.randn(4, 5, generator=torch.Generator().manual_seed(number))
        for model in (ours, theirs):
            model(images).square().sum().backward()
        expected = nn.utils.clip_grad_norm_(theirs.parameters(), clip if clip is not None else float("inf"))
        for group in plain.param_groups:
            group["lr"] = 0.01 / (number + 1)
        plain.step()
        plain.zero_grad()
        norm = step_once(0.01 / (number + 1), torch.tensor(1.0))
        torch.testing.assert_close(norm, expected)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("where", ["gradient", "loss"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nothing_moves_from_the_first_non_finite_step_on(fused: bool, where: str, value: float) -> None:
    model = network()
    optimizer = build_optimizer(model, OptimConfig(), fused=fused)
    step_once = GuardedStep(optimizer, None, torch.device("cpu"))

    def step(loss: float, poison: bool) -> None:
        model(torch.ones(2, 5)).sum().backward()
        if poison:
            next(model.parameters()).grad[0, 0] = value  # type: ignore[index]
        step_once(0.1, torch.tensor(loss))

    step(1.0, poison=False)
    weights, moments = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict()["state"])
    step(value if where == "loss" else 1.0, poison=where == "gradient")
    step(1.0, poison=False)
    assert step_once.bad == 1
    assert all(torch.equal(weights[name], now) for name, now in model.state_dict().items())
    for key, state in optimizer.state_dict()["state"].items():
        assert torch.equal(state["momentum_buffer"], moments[key]["momentum_buffer"])
