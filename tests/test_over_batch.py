"""A softmax of the forward pass over the batch, in a watched loop, beside those that are meant."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import Monitor, check
from trainability.doctor.diagnosis import Diagnosis

N = 24
X = torch.randn(N, 6, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(N, 1, 8, 8, generator=torch.Generator().manual_seed(1))
STEPS = torch.randn(N, 5, 6, generator=torch.Generator().manual_seed(2))


class Parts(nn.Module):
    """Two linear layers, and a function of a case's own of them and of what is given."""

    def __init__(self, inside: int, forward: Callable[[nn.Module, nn.Module, Tensor], Tensor], k: int = 4) -> None:
        super().__init__()
        self.gate, self.values, self.function = nn.Linear(inside, k), nn.Linear(inside, k), forward

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.gate, self.values, x)


def experts(dim: int) -> Callable[..., Tensor]:
    return lambda gate, values, x: (gate(x).softmax(dim) * values(x)).sum(dim=1, keepdim=True)


def of_pixels(gate: nn.Module, values: nn.Module, x: Tensor) -> Tensor:
    return (gate(x.flatten(1)).softmax(0) * values(x.flatten(1))).sum(dim=1)


def of_a_bag(gate: nn.Module, values: nn.Module, x: Tensor) -> Tensor:
    """All instances make one answer, by four heads of attention."""
    return (gate(x).softmax(0) * values(x)).sum(dim=0, keepdim=True)


def of_neighbours(gate: nn.Module, values: nn.Module, x: Tensor) -> Tensor:
    """Examples look at each other."""
    return (gate(x) @ values(x).T).softmax(0).T @ values(x)


def both_ways(gate: nn.Module, values: nn.Module, x: Tensor) -> Tensor:
    """Soft slots: shares of slots among tokens, then of tokens among slots."""
    logits = gate(x)
    return logits.softmax(1) @ (logits.softmax(0).T @ values(x))


def steps_first(gate: nn.Module, values: nn.Module, x: Tensor) -> Tensor:
    return (gate(x).softmax(0) * values(x)).sum(dim=2)


def watched(model: nn.Module, x: Tensor, target: Tensor, over: int = 1, *, asks_step: bool = False) -> Diagnosis:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with Monitor(model, optimizer, every=2, asks_step=asks_step) as monitor:
        for _ in range(4):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), target) if over == 1 else -(model(x).log_softmax(0) * target).mean()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    return monitor.diagnose()


CASES = {
    "a gate over the batch": (Parts(6, experts(0)), X, X[:, :1], True),
    "a gate over the batch, counted from the end": (Parts(6, experts(-2)), X, X[:, :1], True),
    "a gate of images": (Parts(64, of_pixels), IMAGES, X[:, 0], True),
    "a gate over experts": (Parts(6, experts(1)), X, X[:, :1], False),
    "a bag": (Parts(6, of_a_bag), X, X[:1, :4], False),
    "examples that attend to each other": (Parts(6, of_neighbours), X, X[:, :4], False),
    "slots": (Parts(6, both_ways), X, X[:, :4], False),
    "steps first": (Parts(6, steps_first), STEPS, STEPS[:, :, 0], False),
}


@pytest.mark.parametrize("name", CASES)
def test_a_softmax_over_the_batch(name: str) -> None:
    model, x, target, found = CASES[name]
    assert any(f.code == "batch_leakage.softmax" for f in watched(model, x, target).findings) is found


@pytest.mark.parametrize(("dim", "code"), [(0, ["batch_leakage.softmax"]), (1, [])])
def test_check_and_an_asked_step_say_which_operation_it_is(dim: int, code: list[str]) -> None:
    model, target = Parts(6, experts(dim)), X[:, :1]
    loader = DataLoader(TensorDataset(X, target), 8)
    found = [
        check(copy.deepcopy(model), loader, F.mse_loss, rehearse_seconds=0),
        watched(model, X, target, asks_step=True),
    ]
    assert [[f.code for f in each.findings if f.rule == "batch_leakage"] for each in found] == [code, code]


def test_a_contrastive_loss_runs_over_the_batch() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
    assert not [f for f in watched(model, X, X[:, :4], over=0).findings if f.code == "batch_leakage.softmax"]
