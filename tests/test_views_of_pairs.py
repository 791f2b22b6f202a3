"""Contrasts of two views of each example: positives that are looked up where the views lie, and elsewhere."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.certain import facts_of

N = 16
X = torch.randn(N, 12, generator=torch.Generator().manual_seed(3))
Y = torch.arange(N) % 4
Step = Callable[[Any, Any], Tensor]


class Encoder(nn.Module):
    """Features (batch, 32) and points (batch, 6)."""

    def __init__(self, *, returns_both: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.Linear(12, 32), nn.BatchNorm1d(32), nn.ReLU())
        self.head, self.returns_both = nn.Linear(32, 6), returns_both

    def forward(self, x: Tensor) -> Any:
        features = self.trunk(x)
        return (features, self.head(features)) if self.returns_both else self.head(features)


def view(x: Tensor) -> Tensor:
    return x * (0.7 + 0.6 * torch.rand(len(x), 1)) + 0.1 * torch.randn_like(x)


def by_index(z: Tensor, positive: Tensor) -> Tensor:
    alike = F.normalize(z, dim=1) @ F.normalize(z, dim=1).T / 0.2
    return F.cross_entropy(alike.masked_fill(torch.eye(len(z), dtype=torch.bool), -1e9), positive)


def by_mask(z: Tensor, positive: Tensor) -> Tensor:
    points, others = F.normalize(z, dim=1), ~torch.eye(len(z), dtype=torch.bool)
    alike = torch.exp(points @ points.T / 0.2)
    return -(alike.gather(1, positive[:, None])[:, 0] / (alike * others).sum(dim=1)).log().mean()


def by_distance(z: Tensor, positive: Tensor) -> Tensor:
    gap = torch.cdist(z, z)
    like = F.one_hot(positive, len(z)).bool()
    unlike = ~like & ~torch.eye(len(z), dtype=torch.bool)
    return gap[like].square().mean() + F.relu(9.0 - gap[unlike]).square().mean()


BESIDE, APART = torch.arange(2 * N) ^ 1, (torch.arange(2 * N) + N) % (2 * N)


def laid(one: Tensor, other: Tensor, layout: str) -> Tensor:
    return torch.cat([one, other]) if layout == "concatenated" else torch.stack([one, other], 1).flatten(0, 1)


def step_of(form: str, loss: Callable[[Tensor, Tensor], Tensor], layout: str, positive: Tensor) -> tuple[nn.Module, Step]:
    def step(model: Any, batch: Any) -> Tensor:
        one, other = view(batch[0]), view(batch[0])
        if form == "two calls":
            return loss(laid(model(one), model(other), layout), positive)
        rows = laid(one, other, layout)
        if form == "parts":
            return loss(model.head(model.trunk(rows)), positive)
        made = model(rows)
        return loss(made[1] if form == "both" else made, positive)

    return Encoder(returns_both=form == "both"), step


def said(model: nn.Module, step: Step, batch: Any = (X,)) -> list[str]:
    found = diagnose(Evidence(facts=facts_of(model, batch, training_step=step))).findings
    return [f.code for f in found if f.severity != "hint" and f.rule in ("wrong_sign", "collapsed_output", "shuffled_labels")]


@pytest.mark.parametrize("loss", [by_index, by_mask, by_distance])
@pytest.mark.parametrize("layout", ["concatenated", "interleaved"])
@pytest.mark.parametrize("form", ["one call", "two calls", "parts", "both"])
def test_positives_are_looked_up_where_the_views_lie(form: str, layout: str, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    right, wrong = (APART, BESIDE) if layout == "concatenated" else (BESIDE, APART)
    assert said(*step_of(form, loss, layout, right)) == []
    assert said(*step_of(form, loss, layout, wrong)) == ["wrong_sign.views"]


def test_the_remedy_names_the_layout() -> None:
    for layout, positive, words in (("concatenated", BESIDE, "+ n) % (2 * n)"), ("interleaved", APART, "^ 1")):
        model, step = step_of("one call", by_index, layout, positive)
        findings = diagnose(Evidence(facts=facts_of(model, (X,), training_step=step))).findings
        assert words in findings[0].remedy


def of_classes(model: Any, batch: Any) -> Tensor:
    """Supervised contrast that leaves the other view of the example itself out of its positives."""
    z = F.normalize(model(torch.cat([view(batch[0]), view(batch[0])])), dim=1)
    labels, who = batch[1].repeat(2), torch.arange(N).repeat(2)
    others = ~torch.eye(2 * N, dtype=torch.bool)
    like = (labels[:, None] == labels[None]) & (who[:, None] != who[None])
    share = z @ z.T / 0.2 - (z @ z.T / 0.2).masked_fill(~others, -1e9).logsumexp(dim=1, keepdim=True)
    return -(share * like).sum(dim=1).div(like.sum(dim=1)).mean()


def of_neighbours(model: Any, batch: Any) -> Tensor:
    """Each row and the row that is nearest to it, of other examples."""
    z = F.normalize(model(torch.cat([view(batch[0]), view(batch[0])])), dim=1)
    own = torch.arange(N).repeat(2)
    alike = z @ z.T / 0.2
    nearest = alike.detach().masked_fill(own[:, None] == own[None], -1e9).argmax(dim=1)
    return F.cross_entropy(alike.masked_fill(torch.eye(2 * N, dtype=torch.bool), -1e9), nearest)


def of_triplets(model: Any, batch: Any) -> Tensor:
    one, other, unlike = model(torch.cat(batch)).chunk(3)
    return F.triplet_margin_loss(one, other, unlike)


def of_likeness(model: Any, batch: Any) -> Tensor:
    one, other = F.normalize(model(torch.cat(batch[:2])), dim=1).chunk(2)
    gap = 1 - (one * other).sum(dim=1)
    return torch.where(batch[2], gap, F.relu(0.9 - gap)).mean()


def of_frames(model: Any, batch: Any) -> Tensor:
    """Frames of a film, each of which goes with the next."""
    z = F.normalize(model(batch[0]), dim=1)
    alike = (z @ z.T / 0.2).masked_fill(torch.eye(N, dtype=torch.bool), -1e9)
    return F.cross_entropy(alike[:-1], torch.arange(1, N))


@pytest.mark.parametrize(
    ("step", "batch"),
    [
        (of_classes, (X, Y)),
        (of_neighbours, (X,)),
        (of_triplets, (X, X + 0.1, X.roll(3, dims=0))),
        (of_likeness, (X, X.roll(1, dims=0), torch.arange(N) % 2 == 0)),
        (of_likeness, (X, X.roll(1, dims=0), torch.zeros(N, dtype=torch.bool))),
        (of_frames, (X,)),
    ],
)
def test_other_pairs_are_meant(step: Step, batch: Any) -> None:
    assert "wrong_sign.views" not in said(Encoder(), step, batch)
