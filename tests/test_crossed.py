"""Outputs against targets of another shape, told from the loss alone, as Monitor sees it."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Monitor
from trainability.doctor import Diagnosis
from trainability.doctor.measure.certain import facts_of

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


ACTIONS = torch.arange(N) % 4
PICKED: dict[str, Loss] = {
    "gather": lambda q, y: F.smooth_l1_loss(q.gather(1, ACTIONS[:, None]), y),
    "gather, by hand": lambda q, y: (q.gather(1, ACTIONS[:, None]) - y).square().mean(),
    "a column": lambda q, y: F.mse_loss(q[:, 1:2], y),
    "indexed": lambda q, y: F.huber_loss(q[torch.arange(N), ACTIONS], y[:, None]),
}


@pytest.mark.parametrize("loss", PICKED)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_one_output_of_each_example_against_all_targets(loss: str) -> None:
    x = torch.randn(N, 5)
    assert is_said(watched(nn.Linear(5, 4), x, x[:, 0], PICKED[loss]))


def test_one_output_of_each_example_against_its_own_target() -> None:
    x = torch.randn(N, 5)
    assert not is_said(watched(nn.Linear(5, 4), x, x[:, :1], lambda q, y: F.smooth_l1_loss(q.gather(1, ACTIONS[:, None]), y)))
    assert not is_said(watched(nn.Linear(5, 4), x, x[:, 0], lambda q, y: F.smooth_l1_loss(q[torch.arange(N), ACTIONS], y)))


def shares(output: Tensor, centres: Tensor) -> Tensor:
    """Shares of all centres by Student's distribution, sharpened as targets (deep embedded clustering)."""
    near = 1 / (1 + (output - centres) ** 2)
    share = near / near.sum(dim=1, keepdim=True)
    sharp = share**2 / share.sum(dim=0)
    return F.kl_div(share.log(), (sharp / sharp.sum(dim=1, keepdim=True)).detach(), reduction="batchmean")


CENTRES = torch.linspace(-2, 2, N)  # as many as there are examples, by chance
CLUSTERS: dict[str, Loss] = {
    "shares of centres": lambda s, y: shares(s, CENTRES) + (s.flatten() - y).square().mean(),
    "the nearest centre": lambda s, y: (s - CENTRES).square().amin(dim=1).mean() + (s.flatten() - y).square().mean(),
    "soft distances": lambda s, y: (
        -((-(s - CENTRES).square()).softmax(dim=1).log()[:, 0] * (y > 0)).mean() + (s.flatten() - y).square().mean()
    ),
}
OWN_PAIRS: dict[str, Loss] = {
    "a column minus its own row": lambda s, y: F.softplus(-(s - s.squeeze(1)) * (y[:, None] - y)).mean(),
    "a row minus its own column": lambda s, y: (F.relu(1 - (s[:, 0] - s)) * (y > y[:, None])).mean(),
}
SOUND: dict[str, Loss] = {
    **CLUSTERS,
    **OWN_PAIRS,
    "all differences of two scores": lambda s, y: F.softplus(-(s - s.T) * (y[:, None] - y)).mean(),
    "several targets of one output": lambda s, y: (s - torch.linspace(0, 1, 7)).abs().mean(),
    "distances from as many points": lambda s, y: (s.square().sum(1, keepdim=True) - 2 * s @ y[None]).square().mean(),
    "of a mean": lambda s, y: (s.mean() - y).square().mean(),
    "those at risk": lambda s, y: -(s[:, 0] - ((y >= y[:, None]).float() * s[:, 0].exp()).sum(1).log()).mean(),
    "a column beside a graph": lambda s, y: (
        (s - (torch.exp(-((y - y[:, None]) ** 2)) * s).mean(1, keepdim=True)).square().mean()
    ),
}


@pytest.mark.parametrize("loss", SOUND)
def test_pairs_that_are_meant_are_left_alone(loss: str) -> None:
    x = torch.randn(N, 5)
    assert not is_said(watched(nn.Linear(5, 1), x, x[:, 0], SOUND[loss]))


@pytest.mark.parametrize("loss", [*CLUSTERS, *OWN_PAIRS, "crossed"])
def test_check_asks_with_one_example_less(loss: str) -> None:
    """A loss that takes all pairs on the way to a mean is known by this alone, and so is the one that crosses its targets."""
    torch.manual_seed(0)
    x = torch.randn(N, 5)
    loss_fn = (CLUSTERS | OWN_PAIRS).get(loss, lambda s, y: ((s - y) ** 2).mean(dim=1).mean())
    facts = facts_of(nn.Linear(5, 1), (x, x[:, 0].sign()), loss_fn=loss_fn)
    assert (facts.broadcast_shape == (N, N)) == (loss == "crossed")


def test_a_dimension_that_the_loss_gives_its_outputs_is_meant_for_pairs() -> None:
    def pinball(output: Tensor, target: Tensor) -> Tensor:
        gap = target[:, :, None] - output[:, None, :]
        return F.huber_loss(output[:, None, :].expand_as(gap), target[:, :, None].expand_as(gap))

    def ranked(output: Tensor, target: Tensor) -> Tensor:
        return (F.relu(1 - (output[:, None] - output.detach())) * (target[:, None] > target)).mean()

    x = torch.randn(N, 5)
    assert not is_said(watched(nn.Linear(5, N), x, torch.randn(N, N), pinball))
    assert not is_said(watched(nn.Sequential(nn.Linear(5, 1), nn.Flatten(0)), x, x[:, 0], ranked))


class Same(torch.autograd.Function):
    """Its node is an object of Python, which tells whether it is still there."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class Net(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return Same.apply(super().forward(x))  # type: ignore[return-value]


@pytest.mark.parametrize("is_number", [False, True])
def test_the_graph_of_a_pass_is_let_go(is_number: bool) -> None:
    """A loss that is handed over as a number leaves nothing to read, and nothing to keep."""
    model = Net(5, 1)
    with Monitor(model, every=1) as monitor:
        output = model(torch.randn(N, 5))
        loss = output.square().mean()
        made = weakref.ref(output.grad_fn)
        loss.backward()
        monitor.after_backward(loss.item() if is_number else loss)
        del output, loss
        gc.collect()
        assert made() is None
