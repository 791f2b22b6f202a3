"""Outputs against targets of another shape, told from the loss alone, as Monitor sees it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Monitor
from trainability.doctor import Diagnosis

Loss = Callable[[Tensor, Tensor], Tensor]
N = 12

LOSSES: dict[str, Loss] = {
    "mse": F.mse_loss,
    "l1": F.l1_loss,
    "huber": F.huber_loss,
    "by hand": lambda output, target: (output - target).square().mean(),
    "target first": lambda output, target: (target - output).abs().sum(),
    "hinge": lambda output, target: F.relu(1 - target * output).mean(),
    "of a sigmoid": lambda output, target: F.mse_loss(output.sigmoid(), target),
    "weighed": lambda output, target: (
        torch.arange(N)[:, None] * (output.flatten(1) - target.reshape(target.shape)) ** 2
    ).mean(),
}


def watched(model: nn.Module, x: Tensor, target: Tensor, loss_fn: Loss) -> Diagnosis:
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with Monitor(model, optimizer, every=1) as monitor:
        for _ in range(2):
            optimizer.zero_grad()
            loss = loss_fn(model(x), target)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
        return monitor.diagnose()


def is_said(diagnosis: Diagnosis) -> bool:
    assert not any("stopped watching" in line for line in diagnosis.not_checked), diagnosis.not_checked
    return any(found.code == "target_broadcast" for found in diagnosis.findings)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_column_against_a_row_is_named_and_two_columns_are_not(loss: str) -> None:
    x = torch.randn(N, 5)
    target = x[:, 0].sign()
    crossed = watched(nn.Linear(5, 1), x, target, LOSSES[loss])
    assert is_said(crossed)
    facts = crossed.evidence.facts
    assert facts is not None
    assert (facts.output_shape, facts.target_shape, facts.broadcast_shape) == ((N, 1), (N,), (N, N))
    assert not is_said(watched(nn.Linear(5, 1), x, target[:, None], LOSSES[loss]))


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_maps_with_a_channel_against_maps_without() -> None:
    x = torch.randn(N, 2, 6, 6)
    found = watched(nn.Conv2d(2, 1, 1), x, x[:, 0], F.mse_loss)
    assert found.evidence.facts is not None
    assert found.evidence.facts.broadcast_shape == (N, N, 6, 6)
    assert not is_said(watched(nn.Conv2d(2, 1, 1), x, x[:, :1], F.mse_loss))


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_row_against_a_column() -> None:
    x = torch.randn(N, 5)
    model = nn.Sequential(nn.Linear(5, 1), nn.Flatten(0))
    assert is_said(watched(model, x, x[:, :1], F.mse_loss))
    assert not is_said(watched(model, x, x[:, 0], F.mse_loss))


SOUND: dict[str, Loss] = {
    "all differences of two scores": lambda s, y: F.softplus(-(s - s.T) * (y[:, None] - y)).mean(),
    "several targets of one output": lambda s, y: (s - torch.linspace(0, 1, 7)).abs().mean(),
    "distances from as many points": lambda s, y: (s.square().sum(1, keepdim=True) - 2 * s @ y[None]).square().mean(),
    "of a mean": lambda s, y: (s.mean() - y).square().mean(),
}


@pytest.mark.parametrize("loss", SOUND)
def test_pairs_that_are_meant_are_left_alone(loss: str) -> None:
    x = torch.randn(N, 5)
    assert not is_said(watched(nn.Linear(5, 1), x, x[:, 0], SOUND[loss]))
