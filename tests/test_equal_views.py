"""Two views of each example that are one, under losses of pairs; and rows that are equal for a reason."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.certain import facts_of

N = 24
Views = Callable[[Any, Tensor], Tensor]


def encoder(*, dropout: float = 0.0, norm: bool = False) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Linear(12, 32), nn.BatchNorm1d(32) if norm else nn.Identity(), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*(layers if dropout else layers[:3]), nn.Linear(32, 16))


def nt_xent(one: Tensor, two: Tensor) -> Tensor:
    z = F.normalize(torch.cat([one, two]), dim=1)
    scores = (z @ z.T / 0.2).fill_diagonal_(-1e9)
    return F.cross_entropy(scores, torch.arange(2 * len(one)).roll(len(one)))


def info_nce(one: Tensor, two: Tensor) -> Tensor:
    scores = F.normalize(one, dim=1) @ F.normalize(two, dim=1).T / 0.1
    return (F.cross_entropy(scores, torch.arange(len(one))) + F.cross_entropy(scores.T, torch.arange(len(one)))) / 2


def noisy(x: Tensor) -> Tensor:
    return x + 0.3 * torch.randn(x.shape)


def seeded(x: Tensor) -> Tensor:
    return x + 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))


def twice(augment: Callable[[Tensor], Tensor], loss: Any, *, at_once: bool = False) -> Callable[[Any, Any], Tensor]:
    def step(model: Any, batch: Any) -> Tensor:
        one, two = augment(batch[0]), augment(batch[0])
        rows = model(torch.cat([one, two])).chunk(2) if at_once else (model(one), model(two))
        return loss(*rows)

    return step


def codes(model: nn.Module, step: Any) -> list[str]:
    batch = [torch.randn(N, 12, generator=torch.Generator().manual_seed(2))]
    found = diagnose(Evidence(facts=facts_of(model, batch, training_step=step))).findings
    return [f.code for f in found if f.rule == "augmentation_missing"]


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("loss", [nt_xent, info_nce])
@pytest.mark.parametrize("augment", [seeded, noisy])
def test_views_of_one_seed(augment: Any, loss: Any, at_once: bool) -> None:
    expected = ["augmentation_missing.views"] if augment is seeded else []
    assert codes(encoder(norm=True), twice(augment, loss, at_once=at_once)) == expected


def test_a_view_of_two_tensors_of_the_batch() -> None:
    x = torch.randn(N, 12)
    facts = facts_of(encoder(), [x, x.clone()], training_step=lambda m, b: nt_xent(m(b[0]), m(b[1])))
    assert facts.pair_forces is not None
    assert facts.pair_forces.equal_views


def test_dropout_tells_two_views_of_a_sentence_apart() -> None:
    assert codes(encoder(dropout=0.1), twice(lambda x: x, nt_xent)) == []


def test_an_example_given_twice_under_a_loss_of_its_own_label() -> None:
    labels = torch.arange(N) % 16
    assert codes(encoder(), lambda m, b: F.cross_entropy(m(torch.cat([b[0], b[0]])), torch.cat([labels, labels]))) == []


def test_triplets_whose_positive_is_another() -> None:
    def step(model: Any, batch: Any) -> Tensor:
        z = model(batch[0])
        return F.triplet_margin_loss(z, z.roll(1, dims=0), z.roll(5, dims=0))

    assert codes(encoder(), step) == []
