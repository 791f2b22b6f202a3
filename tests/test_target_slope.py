"""Temporal differences whose target has a gradient, beside detached ones, and differences that are meant."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.certain import facts_of

RNG = torch.Generator().manual_seed(0)
N = 32
BATCH = (
    torch.randn(N, 4, generator=RNG),
    torch.randint(2, (N,), generator=RNG),
    torch.randn(N, generator=RNG),
    torch.randn(N, 4, generator=RNG),
    (torch.rand(N, generator=RNG) < 0.2).float(),
)


class Both(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net, self.old = (nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2)) for _ in range(2))
        self.old.requires_grad_(False)


def q_loss(model: Any, batch: Any, *, kind: str = "own", discount: float = 0.97, huber: bool = True) -> Tensor:
    state, action, reward, after, done = batch
    value = model.net(state).gather(1, action[:, None]).squeeze(1)
    if kind == "old":
        following = model.old(after).max(1).values
    elif kind == "double":
        following = model.net(after).gather(1, model.old(after).argmax(1, keepdim=True)).squeeze(1)
    else:
        following = model.net(after).max(1).values
    target = reward + discount * following * (1 - done)
    target = target.detach() if kind == "detached" else target
    return F.smooth_l1_loss(value, target) if huber else ((target - value) ** 2).mean()


def difference(model: Any, batch: Any) -> Tensor:
    """Of two outputs, which is to be a third number: no discount and no end."""
    return F.mse_loss(model.net(batch[0])[:, 0] - model.net(batch[3])[:, 0], batch[2])


def contrast(model: Any, batch: Any) -> Tensor:
    apart = (model.net(batch[0]) - model.net(batch[3])).norm(dim=1)
    return (batch[4] * apart**2 + (1 - batch[4]) * (1 - apart).relu() ** 2).mean()


def found_in(step: Any, **how: Any) -> tuple[float | None, list[str]]:
    facts = facts_of(Both(), BATCH, training_step=lambda m, b: step(m, b, **how), batches=[BATCH])
    rules = [f.rule for f in diagnose(Evidence(facts=facts)).findings]
    return facts.readings.target_slope, [rule for rule in rules if rule == "own_target"]


@pytest.mark.parametrize("huber", [True, False])
@pytest.mark.parametrize(("kind", "discount"), [("own", 0.97), ("double", 0.9), ("own", 1.0)])
def test_a_target_with_a_gradient(kind: str, discount: float, huber: bool) -> None:
    found, rules = found_in(q_loss, kind=kind, discount=discount, huber=huber)
    assert found == pytest.approx(discount, abs=1e-3)
    assert rules == ["own_target"]


@pytest.mark.parametrize("kind", ["detached", "old"])
def test_targets_without_a_gradient(kind: str) -> None:
    assert found_in(q_loss, kind=kind) == (None, [])


@pytest.mark.parametrize("step", [difference, contrast])
def test_differences_that_are_meant(step: Any) -> None:
    assert found_in(step) == (None, [])
