"""A sum over the batch beside each example's own term, and sums that are meant."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import Monitor
from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.certain import facts_of

N = 16


class Scale(nn.Module):
    """Two numbers for each of two features, as of a flow, a code or an energy."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 4))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self.net(x).chunk(2, dim=1)
        return s, t


def flow(x: Tensor, s: Tensor, t: Tensor, summed: Callable[[Tensor], Any]) -> Tensor:
    z = x * s.exp() + t
    return -(-0.5 * z.square().sum(1) + summed(s)).mean()


def bound(x: Tensor, s: Tensor, t: Tensor, summed: Callable[[Tensor], Any]) -> Tensor:
    error = (x - t).square().sum(dim=1, keepdim=True)
    return (error + summed(s.exp() - s - 1)).mean()


Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
SUMMED: dict[str, Loss] = {
    "log-determinant": lambda x, s, t: flow(x, s, t, torch.sum),
    "of several layers": lambda x, s, t: flow(x, s, t, lambda s: 0.0 + s[:, 0].sum() + s[:, 1].sum()),
    "divergence": lambda x, s, t: bound(x, s, t, torch.sum),
    "taken off": lambda x, s, t: (0.5 * t.square().sum(1) - s.sum()).sum(),
}
MEANT: dict[str, Loss] = {
    "over the features": lambda x, s, t: flow(x, s, t, lambda s: s.sum(1)),
    "a mean": lambda x, s, t: bound(x, s, t, torch.mean),
    "two sums": lambda x, s, t: (x - t).square().sum() + s.exp().sum() - s.sum(),
    "weighed": lambda x, s, t: ((x - t).square().sum(1) + 1e-3 * s.abs().sum()).mean(),
    "of a set": lambda x, s, t: F.softplus(t.sum(1) + s.sum()).mean(),
    "a logarithm of a sum": lambda x, s, t: (s.sum(1) + t.exp().sum().log()).mean(),
}


class Decayed(nn.Module):
    """As many units as examples, and the squares of their weights."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(2, N)


def decayed(model: Any, batch: Any) -> Tensor:
    x = batch[0]
    return ((model.net(x)[:, 0] - x[:, 0]).square() + model.net.weight.square().sum()).mean()


def codes(model: nn.Module, step: Callable[[Any, Any], Tensor]) -> tuple[list[str], list[str]]:
    batch = [torch.randn(N, 2, generator=torch.Generator().manual_seed(1))]
    checked = diagnose(Evidence(facts=facts_of(model, batch, training_step=step))).findings
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with Monitor(model, optimizer, every=1) as monitor:
        for _ in range(2):
            optimizer.zero_grad()
            loss = step(model, batch)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
        watched = monitor.diagnose().findings
    return tuple([f.code for f in found if f.rule == "sum_for_mean" and f.severity != "hint"] for found in (checked, watched))


@pytest.mark.parametrize("name", SUMMED)
def test_a_sum_over_the_batch_beside_each_examples_term(name: str) -> None:
    assert codes(Scale(), lambda model, batch: SUMMED[name](batch[0], *model(batch[0]))) == (["sum_for_mean.beside_each"],) * 2


@pytest.mark.parametrize("name", MEANT)
def test_sums_that_are_meant(name: str) -> None:
    assert codes(Scale(), lambda model, batch: MEANT[name](batch[0], *model(batch[0]))) == ([], [])


def test_a_sum_of_weights_is_a_penalty() -> None:
    assert codes(Decayed(), decayed) == ([], [])
