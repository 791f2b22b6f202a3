"""Two views of each example that a loss pulls together: with a side that stands still, with something that pushes, without."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability.doctor import Evidence, Monitor, diagnose
from trainability.doctor.measure.body_facts import facts_of_body
from trainability.doctor.measure.certain import facts_of

N = 16
X = torch.randn(N, 12, generator=torch.Generator().manual_seed(3))


def view(x: Tensor) -> Tensor:
    return x + 0.3 * torch.randn_like(x)


def cosine(p: Tensor, z: Tensor) -> Tensor:
    return -F.cosine_similarity(p, z).mean()


class Siamese(nn.Module):
    """An encoder and a predictor; `kind` says how its loss goes."""

    def __init__(self, kind: str, *, returns_loss: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(nn.Linear(12, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 8))
        self.predictor = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))
        self.teacher = nn.Linear(12, 8)
        self.kind, self.returns_loss = kind, returns_loss

    def forward(self, x: Tensor) -> Tensor:
        return self.loss(x) if self.returns_loss else self.encoder(x)

    def loss(self, x: Tensor) -> Tensor:
        one, other = self.encoder(view(x)), self.encoder(view(x))
        if self.kind == "detached":
            return cosine(self.predictor(one), other.detach()) / 2 + cosine(self.predictor(other), one.detach()) / 2
        if self.kind == "collapses":
            return cosine(self.predictor(one), other) / 2 + cosine(self.predictor(other), one) / 2
        if self.kind == "collapses by distance":
            return (F.normalize(one, dim=1) - F.normalize(other, dim=1)).square().sum(dim=1).mean()
        if self.kind == "one side":
            return cosine(self.predictor(one), other.detach())
        if self.kind == "teacher":
            return cosine(self.predictor(one), self.teacher(x))
        spread = sum(F.relu(1 - (z.var(dim=0) + 1e-4).sqrt()).mean() for z in (one, other))
        mixed = sum((((z - z.mean(0)).T @ (z - z.mean(0)) / N).fill_diagonal_(0)).square().sum() / 8 for z in (one, other))
        return 25 * F.mse_loss(one, other) + 25 * spread + mixed


def stepped(model: nn.Module) -> list[Tensor]:
    return [p for name, p in model.named_parameters() if not name.startswith("teacher")]


def said(model: nn.Module, step: Callable[[Any, Any], Tensor], batch: Any = (X,)) -> bool:
    optimizer = torch.optim.SGD(stepped(model), lr=0.01)
    found = diagnose(Evidence(facts=facts_of(model, batch, training_step=step, optimizer=optimizer))).findings
    return "collapsed_output.pulled" in [f.code for f in found]


KINDS = {
    "collapses": True,
    "collapses by distance": True,
    "detached": False,
    "one side": False,
    "teacher": False,
    "variances": False,
}


@pytest.mark.parametrize("returns_loss", [True, False])
@pytest.mark.parametrize(("kind", "fires"), KINDS.items())
def test_check_tells_a_loss_that_only_pulls(kind: str, fires: bool, returns_loss: bool) -> None:
    model = Siamese(kind, returns_loss=returns_loss)
    assert said(model, lambda m, batch: m(batch[0]) if returns_loss else m.loss(batch[0])) == fires


@pytest.mark.parametrize(("kind", "fires"), KINDS.items())
def test_a_watched_loop_tells_it_too(kind: str, fires: bool) -> None:
    model = Siamese(kind, returns_loss=False)
    optimizer = torch.optim.SGD(stepped(model), lr=0.01)
    with Monitor(model, optimizer, every=1) as monitor:
        for _ in range(4):
            loss = model.loss(X)
            optimizer.zero_grad()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    assert ("collapsed_output.pulled" in [f.code for f in monitor.diagnose().findings]) == fires


class Factors(nn.Module):
    """A product of two factors for a rating: both are pulled together while ratings are larger."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.users, self.items = nn.Embedding(20, 8), nn.Embedding(30, 8)
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=0.1)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        return (self.users(users) * self.items(items)).sum(dim=1)


@pytest.mark.parametrize("spread", [1.0, 0.2])
def test_factors_are_pulled_to_their_ratings(spread: float) -> None:
    rng = torch.Generator().manual_seed(1)
    users, items = torch.randint(20, (32,), generator=rng), torch.randint(30, (32,), generator=rng)
    ratings = 4 + spread * torch.randn(32, generator=rng)
    model = Factors()
    assert not said(model, lambda m, batch: F.mse_loss(m(batch[0], batch[1]), batch[2]), (users, items, ratings))


@pytest.mark.parametrize("pushes", [True, False])
def test_a_body_of_two_backward_passes_is_read_as_a_whole(pushes: bool) -> None:
    model = Siamese("", returns_loss=False)
    optimizer = torch.optim.SGD(stepped(model), lr=0.01)

    def step(m: Any, o: Any, batch: Any) -> Tensor:
        o.zero_grad()
        one, other = (F.normalize(m(view(batch[0])), dim=1) for _ in range(2))
        alignment = (one - other).square().sum(dim=1).mean()
        second = (
            torch.pdist(one).square().mul(-2).exp().mean().log() if pushes else (one - other).square().sum(dim=1).sqrt().mean()
        )
        alignment.backward(retain_graph=True)
        second.backward()
        o.step()
        return alignment + second

    loader = DataLoader(TensorDataset(X), N)
    facts = facts_of_body(model, (X,), step=step, optimizer=optimizer, batches=loader)
    assert facts is not None
    if pushes:
        assert facts.pair_forces is not None
        assert (facts.pair_forces.num_pulled, facts.pair_forces.num_pushed) == (N, N * (N - 1) // 2)
    found = diagnose(Evidence(facts=facts)).findings
    assert ("collapsed_output.pulled" in [f.code for f in found]) == (not pushes)
