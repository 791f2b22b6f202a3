"""Losses of one module's several calls: of pairs of embeddings, and of embeddings by themselves, which are no pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Monitor
from trainability.doctor.diagnosis import Diagnosis
from trainability.doctor.measure.certain import facts_of

ROWS, WIDE = 128, 24
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def near_and_far() -> tuple[Tensor, Tensor, Tensor]:
    """Couples of rows, and whether they are near each other."""
    generator = torch.Generator().manual_seed(0)
    first, kind = torch.randn(ROWS, WIDE, generator=generator), torch.arange(ROWS) % 2
    noise = torch.randn(ROWS, WIDE, generator=generator)
    return first, torch.where(kind[:, None] == 1, first + 0.3 * noise, noise), kind


def two_columns() -> tuple[Tensor, Tensor, Tensor]:
    """Rows of which the second of a couple differs in two columns, as another class laid over the same image does."""
    first = torch.rand(ROWS, WIDE, generator=torch.Generator().manual_seed(0))
    own = torch.arange(ROWS) % 10
    first[:, :10] = F.one_hot(own, 10).float()
    other = first.clone()
    other[:, :10] = F.one_hot((own + 3) % 10, 10).float()
    return first, other, own


def goodness(a: Tensor, b: Tensor, _: Tensor) -> Tensor:
    return F.softplus(torch.cat([2.0 - a.square().mean(dim=1), b.square().mean(dim=1) - 2.0])).mean()


def by_its_difference(a: Tensor, b: Tensor, _: Tensor) -> Tensor:
    return F.softplus(b.square().mean(dim=1) - a.square().mean(dim=1)).mean()


def critic(a: Tensor, b: Tensor, _: Tensor) -> Tensor:
    return b.mean() - a.mean()


def ranked(a: Tensor, b: Tensor, _: Tensor) -> Tensor:
    return -F.logsigmoid(a[:, 0] - b[:, 0]).mean()


def classified(a: Tensor, b: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(a, y) + F.cross_entropy(b, y)


def of_couples(distance: Callable[[Tensor, Tensor], Tensor], turned: bool) -> Loss:
    def loss(a: Tensor, b: Tensor, like: Tensor) -> Tensor:
        pulled = like.bool() != turned
        gap = distance(a, b)
        return torch.where(pulled, gap, F.relu(2.0 * gap.detach().max() - gap)).mean()

    return loss


DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "squared": lambda a, b: (a - b).square().sum(dim=1),
    "absolute": lambda a, b: (a - b).abs().sum(dim=1),
    "angle": lambda a, b: 1 - F.cosine_similarity(a, b),
    "one side detached": lambda a, b: (a - b.detach()).square().sum(dim=1),
    "shares": lambda a, b: F.kl_div(a.log_softmax(dim=1), b.softmax(dim=1), reduction="none").sum(dim=1),
}
NO_PAIRS: dict[str, tuple[Loss, int]] = {
    "forward-forward": (goodness, 32),
    "forward-forward by a difference": (by_its_difference, 32),
    "a critic": (critic, 1),
    "a critic of patches": (critic, 9),
    "a reward": (ranked, 1),
    "two views, classified": (classified, 10),
}


def asked(loss: Loss, outputs: int, batch: tuple[Tensor, Tensor, Tensor]) -> Any:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(WIDE, 32), nn.Tanh(), nn.Linear(32, outputs))

    def step(model: Any, batch: Any) -> Tensor:
        return loss(model(batch[0]), model(batch[1]), batch[2])

    return facts_of(model, batch, training_step=step, more=()).pulls


@pytest.mark.parametrize("name", NO_PAIRS)
def test_rows_that_the_loss_holds_against_nothing_are_no_pairs(name: str) -> None:
    assert asked(*NO_PAIRS[name], two_columns()) is None


@pytest.mark.parametrize("name", DISTANCES)
def test_pairs_are_told_by_any_distance(name: str) -> None:
    wrong, right = (asked(of_couples(DISTANCES[name], turned), 8, near_and_far()) for turned in (True, False))
    assert right.z < 0 < 4.0 < wrong.z
    assert {wrong.num_pulled, wrong.num_pushed} == {ROWS // 2}


@pytest.mark.parametrize(("loss", "fires"), [(goodness, False), (of_couples(DISTANCES["squared"], True), True)])
def test_a_watched_loop_is_told_of_pairs_alone(loss: Loss, fires: bool) -> None:
    def watched() -> Diagnosis:
        torch.manual_seed(0)
        layer = nn.Linear(WIDE, 32)
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
        first, second, told = near_and_far() if fires else two_columns()
        with Monitor(layer, optimizer) as monitor:
            for _ in range(3):
                found = loss(layer(first), layer(second), told)
                found.backward()
                monitor.after_backward(found)
                optimizer.step()
                optimizer.zero_grad()
        return monitor.diagnose()

    assert ("wrong_sign.pairs" in [finding.code for finding in watched().findings]) == fires
