"""Divergences from a teacher in which one side lacks the temperature, beside those at one, and sharpened targets."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.certain import facts_of

BATCH = (torch.randn(32, 6, generator=torch.Generator().manual_seed(0)),)
TEACHER = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 4)).requires_grad_(False)
VIRTUAL = torch.full((32, 4), 0.1)
Loss = Callable[[Tensor, Tensor], Tensor]


def divergence(own: float, other: float) -> Loss:
    def loss(answer: Tensor, taught: Tensor) -> Tensor:
        return own * own * F.kl_div(F.log_softmax(answer / own, dim=1), F.softmax(taught / other, 1), reduction="batchmean")

    return loss


def forgotten(answer: Tensor, taught: Tensor) -> Tensor:
    return F.kl_div((answer * 0.25).log_softmax(1), taught.softmax(1).detach(), reduction="batchmean")


def in_logarithms(answer: Tensor, taught: Tensor) -> Tensor:
    return nn.KLDivLoss(reduction="sum", log_target=True)(F.log_softmax(answer / 3.0, -1), F.log_softmax(taught, -1))


def by_a_tensor(answer: Tensor, taught: Tensor) -> Tensor:
    """The same temperature, of which one is a tensor."""
    return F.kl_div((answer / 4.0).log_softmax(1), (taught / torch.tensor(4.0)).softmax(1), reduction="batchmean")


def less_the_largest(answer: Tensor, taught: Tensor) -> Tensor:
    scaled = taught / 4.0
    return F.kl_div((answer / 4.0).log_softmax(1), (scaled - scaled.amax(1, True)).softmax(1), reduction="batchmean")


def virtual(answer: Tensor, taught: Tensor) -> Tensor:
    """A teacher that is made by hand (Tf-KD)."""
    return F.kl_div(answer.log_softmax(1), (VIRTUAL / 20.0).softmax(1), reduction="batchmean")


def temperatures(loss: Loss) -> tuple[float, float] | None:
    def step(model: Any, batch: Any) -> Tensor:
        with torch.no_grad():
            taught = TEACHER(batch[0])
        return loss(model(batch[0]), taught)

    torch.manual_seed(0)
    facts = facts_of(nn.Linear(6, 4), BATCH, training_step=step, batches=[BATCH])
    codes = {f.code: f.severity for f in diagnose(Evidence(facts=facts)).findings}
    found = facts.temperatures
    expected = None if found is None else "warning" if found[0] > found[1] else "hint"
    assert codes.get("capped_loss.one_temperature") == expected
    return found


@pytest.mark.parametrize(
    ("loss", "found"),
    [
        (divergence(4.0, 1.0), (4.0, 1.0)),
        (divergence(1.0, 4.0), (1.0, 4.0)),
        (forgotten, (4.0, 1.0)),
        (in_logarithms, (3.0, 1.0)),
    ],
)
def test_one_side_lacks_the_temperature(loss: Loss, found: tuple[float, float]) -> None:
    assert temperatures(loss) == pytest.approx(found)


@pytest.mark.parametrize(
    "loss",
    [divergence(4.0, 4.0), divergence(1.0, 1.0), divergence(1.0, 0.4), by_a_tensor, less_the_largest, virtual],
)
def test_temperatures_that_may_be_meant(loss: Loss) -> None:
    assert temperatures(loss) is None
