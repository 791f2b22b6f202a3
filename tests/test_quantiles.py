"""Losses of quantiles, with the error one way and the other, and losses that are none."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainability.doctor import diagnose
from trainability.doctor.evidence import Evidence
from trainability.doctor.measure.certain import facts_of

RNG = torch.Generator().manual_seed(0)
X, Y = torch.randn(20, 6, generator=RNG), torch.randn(20, generator=RNG)
QUANTILES = (0.1, 0.5, 0.9)
Loss = Callable[[Tensor, Tensor], Tensor]


def pinball(error: Tensor, level: float | Tensor) -> Tensor:
    return torch.max(level * error, (level - 1) * error)


class Held(nn.Module):
    def __init__(self, sign: float, levels: Any, name: str = "quantiles") -> None:
        super().__init__()
        setattr(self, name, levels)
        self.sign, self.name = sign, name

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        levels = getattr(self, self.name)
        return torch.stack([pinball(self.sign * (target - output[:, k]), q) for k, q in enumerate(levels)]).mean()


def by_global(sign: float) -> Loss:
    def loss(output: Tensor, target: Tensor) -> Tensor:
        return pinball(sign * (target[:, None] - output), torch.tensor(QUANTILES)).mean()

    return loss


def alone(output: Tensor, target: Tensor, *, quantile: float, sign: float) -> Tensor:
    return pinball(sign * (target - output[:, 0]), quantile).mean()


def expectile(output: Tensor, target: Tensor, taus: Any = (0.1, 0.5, 0.9)) -> Tensor:
    error = output - target[:, None]
    levels = torch.tensor(taus)
    return (torch.where(error > 0, levels, 1 - levels) * error.square()).mean()


def absolute(output: Tensor, target: Tensor, quantiles: Any = QUANTILES) -> Tensor:
    return (output - target[:, None]).abs().mean()


PROGRAMS: dict[str, tuple[Loss, int, bool]] = {
    "of a module": (Held(-1.0, QUANTILES), 3, True),
    "of a module, right": (Held(1.0, QUANTILES), 3, False),
    "a letter": (Held(-1.0, (0.9,), "q"), 1, True),
    "a letter, right": (Held(1.0, (0.9,), "q"), 1, False),
    "another letter": (Held(-1.0, (0.9,), "p"), 1, False),
    "a tensor": (Held(-1.0, torch.tensor([0.05, 0.25, 0.8])), 3, True),
    "a tensor, right": (Held(1.0, torch.tensor([0.05, 0.25, 0.8])), 3, False),
    "a global": (by_global(-1.0), 3, True),
    "a global, right": (by_global(1.0), 3, False),
    "one": (functools.partial(alone, quantile=0.9, sign=-1.0), 1, True),
    "one, right": (functools.partial(alone, quantile=0.9, sign=1.0), 1, False),
    "medians": (Held(-1.0, (0.5, 0.5)), 2, False),
    "shares above": (Held(-1.0, QUANTILES, "exceedance"), 3, False),
    "expectiles": (expectile, 3, False),
    "absolute errors": (absolute, 3, False),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_levels_are_compared(name: str) -> None:
    loss, outputs, turned = PROGRAMS[name]
    torch.manual_seed(0)
    facts = facts_of(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, outputs)), (X, Y), loss_fn=loss)
    assert not facts.notes
    assert (facts.turned_quantiles is not None) == turned


def of_three(output: Tensor, target: Tensor) -> Tensor:
    return pinball(output - target[:, None], torch.tensor(QUANTILES)).mean()


def test_by_a_step() -> None:
    def step(model: Any, batch: Any) -> Tensor:
        return of_three(model(batch[0]), batch[1])

    torch.manual_seed(0)
    found = facts_of(nn.Linear(6, 3), (X, Y), training_step=step).turned_quantiles
    assert found is not None
    assert found[1] == QUANTILES


def test_a_variable_that_is_not_set_yet() -> None:
    def step(model: Any, batch: Any) -> Tensor:
        return of_three(model(batch[0]), batch[1]) * (scale if len(batch) > 2 else 1)

    assert not facts_of(nn.Linear(6, 3), (X, Y), training_step=step).notes
    scale = 2.0


def turned_columns(output: Tensor, target: Tensor, quantiles: Any = QUANTILES) -> Tensor:
    high, middle, low = output.unbind(1)
    pairs = zip(quantiles, (low, middle, high), strict=True)
    return torch.stack([pinball(target - each, q) for q, each in pairs]).mean()


def by_numbers(output: Tensor, target: Tensor, quantiles: Any = QUANTILES) -> Tensor:
    return torch.stack([pinball(target - output[:, -1 - k], q) for k, q in enumerate(quantiles)]).mean()


def turned_about(output: Tensor, target: Tensor, quantiles: Any = QUANTILES) -> Tensor:
    return pinball(target[:, None] - output.flip(1), torch.tensor(quantiles)).mean()


def one_by_one(output: Tensor, target: Tensor, quantiles: Any = (0.05, 0.5, 0.9)) -> Tensor:
    low, middle, high = output.unbind(1)
    pairs = zip(quantiles, (low, middle, high), strict=True)
    return torch.stack([pinball(each - target, q) for q, each in pairs]).mean()


@pytest.mark.parametrize(
    ("loss", "is_sure"),
    [
        (Held(-1.0, QUANTILES), True),
        (by_global(-1.0), True),
        (one_by_one, True),
        (turned_columns, False),
        (by_numbers, False),
        (turned_about, False),
    ],
)
def test_columns_in_the_opposite_order_are_no_sign(loss: Loss, is_sure: bool) -> None:
    torch.manual_seed(0)
    facts = facts_of(nn.Linear(6, 3), (X, Y), loss_fn=loss)
    assert facts.turned_quantiles is not None
    assert facts.turned_quantiles[3] == is_sure
    (severity,) = (f.severity for f in diagnose(Evidence(facts=facts)).findings if f.code == "wrong_sign.quantiles")
    assert severity == ("warning" if is_sure else "hint")
