"""Losses of pairs that add up all examples before they bend each, beside sums that are meant."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import Monitor, check
from trainability.doctor.measure.certain import facts_of

N, NAMES = 16, 12
RNG = torch.Generator().manual_seed(0)
TRIPLETS = tuple(torch.randint(NAMES, (N,), generator=RNG) for _ in range(3))


class Factors(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.user, self.item = nn.Embedding(NAMES, N), nn.Embedding(NAMES, N)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        return (self.user(users) * self.item(items)).sum(dim=-1)


def at_once(bend: Callable[[Tensor], Tensor]) -> Callable[[Any, Any], Tensor]:
    def step(model: Any, batch: Any) -> Tensor:
        users, liked, other = batch
        return bend((model.user(users) * (model.item(liked) - model.item(other))).sum()).mean()

    return step


def apart(model: Any, batch: Any) -> Tensor:
    users, liked, other = batch
    return -F.logsigmoid(model(users, liked).sum() - model(users, other).sum())


def each(model: Any, batch: Any) -> Tensor:
    users, liked, other = batch
    return -F.logsigmoid(model(users, liked) - model(users, other)).sum()


def one_by_one(model: Any, batch: Any) -> Tensor:
    pairs = ((model.user(u) * (model.item(i) - model.item(j))).sum() for u, i, j in zip(*batch, strict=True))
    return torch.stack([-F.logsigmoid(pair) for pair in pairs]).mean()


def with_penalty(model: Any, batch: Any) -> Tensor:
    return each(model, batch) + F.softplus(model.user.weight.square().sum())


def of_a_bag(model: Any, batch: Any) -> Tensor:
    """One label for all."""
    users, liked, other = batch
    return F.softplus(-(2.0 * (other[0] % 2) - 1) * model(users, liked).sum())


CASES: dict[str, tuple[Any, bool]] = {
    "log-sigmoid": (at_once(lambda x: -F.logsigmoid(x)), True),
    "softplus": (at_once(lambda x: F.softplus(-x)), True),
    "logarithm of a sigmoid": (at_once(lambda x: -torch.log(torch.sigmoid(x) + 1e-8)), True),
    "sums of the scores": (apart, True),
    "each": (each, False),
    "one by one": (one_by_one, False),
    "a penalty": (with_penalty, False),
    "a bag": (of_a_bag, False),
}


@pytest.mark.parametrize(("step", "wrong"), CASES.values(), ids=CASES)
def test_one_number_of_all_pairs_is_told(step: Any, wrong: bool) -> None:
    assert (facts_of(Factors(), TRIPLETS, training_step=step).summed_first == N) == wrong
    model = Factors()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    with Monitor(model, optimizer, every=1) as monitor:
        for _ in range(2):
            optimizer.zero_grad()
            loss = step(model, TRIPLETS)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    assert ("target_broadcast.unpaired" in [f.code for f in monitor.diagnose().findings]) == wrong


@pytest.mark.parametrize("stacked", [True, False])
def test_rows_of_one_example_may_be_summed(stacked: bool) -> None:
    """Two texts, or the nodes of two graphs, of which one is to score higher; a loader that stacks pairs has examples there."""

    def step(model: Any, batch: Any) -> Tensor:
        return -F.logsigmoid(model(batch[0]).sum() - model(batch[1]).sum())

    pairs = TensorDataset(*(torch.randn(64, 5, generator=RNG) for _ in range(2)))
    loader = DataLoader(pairs, batch_size=16) if stacked else [pairs[i : i + 16] for i in range(0, 64, 16)]
    model = nn.Linear(5, 1)
    report = check(
        model, loader, training_step=step, optimizer=torch.optim.Adam(model.parameters(), 1e-3), rehearse_seconds=0.3
    )
    assert ("target_broadcast.unpaired" in [f.code for f in report.findings]) == stacked
