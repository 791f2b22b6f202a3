"""Losses whose part with the targets is a number, and losses whose gradient is the same for many targets."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import check
from trainability.doctor.measure.certain import facts_of

G = torch.Generator().manual_seed(0)
X = torch.randn(64, 6, generator=G)
CLASSES = X[:, :3].argmax(dim=1)
MARKS = (X[:, 0] > 0).float()
POINTS = X[:, :3] @ torch.randn(3, 3, generator=G)
Step = Callable[[nn.Module, tuple[Tensor, Tensor]], Tensor]

MISTAKES: dict[str, tuple[Tensor, Step]] = {
    "item, and a penalty of outputs": (
        CLASSES,
        lambda m, b: torch.tensor(F.cross_entropy(o := m(b[0]), b[1]).item()) + 0.01 * o.square().mean(),
    ),
    "detach, and a penalty of weights": (
        POINTS,
        lambda m, b: F.mse_loss(m(b[0]), b[1]).detach() + 1e-3 * sum(p.square().sum() for p in m.parameters()),
    ),
    "data": (MARKS, lambda m, b: (o := m(b[0])[:, 0]).square().mean() + F.binary_cross_entropy(o.sigmoid().data, b[1])),
    "parts that are listed": (
        CLASSES,
        lambda m, b: torch.tensor([float(F.cross_entropy(o := m(b[0]), b[1]))]).sum() + 0.1 * o.logsumexp(1).mean(),
    ),
}
SOUND: dict[str, tuple[Tensor, Step]] = {
    "a penalty": (CLASSES, lambda m, b: F.cross_entropy(o := m(b[0]), b[1]) + 0.01 * o.square().mean()),
    "far targets of an absolute error": (POINTS + 100, lambda m, b: F.l1_loss(m(b[0]), b[1])),
    "far targets of a robust error": (POINTS + 100, lambda m, b: F.smooth_l1_loss(m(b[0]), b[1])),
    "a quantile of far targets": (
        POINTS - 50,
        lambda m, b: torch.maximum(0.9 * (e := b[1] - m(b[0])), -0.1 * e).mean(),
    ),
    "hinges far away": (2 * MARKS - 1, lambda m, b: (5 - b[1] * m(b[0])[:, 0]).relu().mean()),
    "an entropy beside it": (
        CLASSES,
        lambda m, b: F.cross_entropy(o := m(b[0]), b[1]) - 0.1 * -(o.softmax(1) * o.log_softmax(1)).sum(1).mean(),
    ),
    "a function without a slope": (POINTS, lambda m, b: F.mse_loss(m(b[0]).round(), b[1])),
    "no targets": (CLASSES, lambda m, b: (m(b[0])[:, 0] - b[0][:, 0]).square().mean()),
    "an error that is told beside it": (
        POINTS,
        lambda m, b: (m(b[0]) - b[0][:, :3]).square().mean() + 0 * F.mse_loss(m(b[0]).detach(), b[1]),
    ),
    "weights that are detached": (
        CLASSES,
        lambda m, b: ((1 - (e := F.cross_entropy(m(b[0]), b[1], reduction="none")).neg().exp()).detach() ** 2 * e).mean(),
    ),
    "the targets' own entropy": (
        POINTS.softmax(1),
        lambda m, b: F.kl_div(m(b[0]).log_softmax(1), b[1], reduction="batchmean"),
    ),
}


def cut(targets: Tensor, step: Step) -> bool:
    torch.manual_seed(0)
    facts = facts_of(nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)), (X, targets), training_step=step)
    assert facts.notes == ()
    return facts.readings.cut_targets


@pytest.mark.parametrize("name", MISTAKES)
def test_a_loss_that_is_a_number_is_told(name: str) -> None:
    assert cut(*MISTAKES[name])


@pytest.mark.parametrize("name", SOUND)
def test_gradients_that_are_the_same_for_many_targets(name: str) -> None:
    assert not cut(*SOUND[name])


def test_a_check_says_it_first() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    targets, step = MISTAKES["item, and a penalty of outputs"]
    found = check(model, [(X, targets)] * 40, optimizer=torch.optim.Adam(model.parameters()), training_step=step)
    assert (found.findings[0].code, found.findings[0].severity) == ("unreached_parameter.targets", "error")
