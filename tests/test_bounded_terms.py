"""Terms of a loss whose targets are outside the range of what makes the outputs, beside terms that are met."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.evidence import Evidence
from trainability.doctor.measure.certain import facts_of
from trainability.doctor.rules.verdict import diagnose

RNG = torch.Generator().manual_seed(0)
X, PLACES, SIZES = torch.randn(64, 6, generator=RNG), torch.rand(64, 2, generator=RNG), torch.randn(64, 2, generator=RNG)
Bound = Callable[[Tensor], Tensor]


class Boxes(nn.Module):
    """Places and sizes, each with a function of its own, in one tensor."""

    def __init__(self, of_places: Bound, of_sizes: Bound) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head, self.of_places, self.of_sizes = nn.Linear(6, 4), of_places, of_sizes

    def forward(self, x: Tensor) -> Tensor:
        made = self.head(x)
        return torch.cat([self.of_places(made[:, :2]), self.of_sizes(made[:, 2:])], dim=1)


def loss(distance: Any = F.mse_loss, sizes: Tensor = SIZES) -> Any:
    def step(model: Any, batch: Any) -> Tensor:
        made = model(batch[0])
        return 2 * F.mse_loss(made[:, :2], batch[1]) + distance(made[:, 2:], sizes)

    return step


def all_in_one(model: Any, batch: Any) -> Tensor:
    made = torch.cat([part.sigmoid() for part in model(batch[0]).split(2, dim=1)], dim=1)
    return F.binary_cross_entropy(made[:, :2], batch[1]) + F.huber_loss(made[torch.arange(64), 2:], SIZES)


def one_distance(sizes: Tensor) -> Any:
    def step(model: Any, batch: Any) -> Tensor:
        return F.mse_loss(model(batch[0]), torch.cat([batch[1], sizes], dim=1))

    return step


def itself(x: Tensor) -> Tensor:
    return x


CASES: dict[str, tuple[nn.Module, Any, str | None]] = {
    "sigmoid, everywhere": (Boxes(itself, itself), all_in_one, "sigmoid"),
    "tanh": (Boxes(torch.tanh, torch.tanh), loss(F.huber_loss, 3 * SIZES), "tanh"),
    "relu": (Boxes(torch.relu, torch.relu), loss(F.smooth_l1_loss), "relu"),
    "one distance for all": (Boxes(torch.sigmoid, torch.sigmoid), one_distance(SIZES.abs() - 0.5), "sigmoid"),
    "one distance, nearly all in range": (
        Boxes(torch.sigmoid, torch.sigmoid),
        one_distance((SIZES.abs() - SIZES.abs().quantile(0.1)).clamp(max=1)),
        None,
    ),
    "sigmoid of places alone": (Boxes(torch.sigmoid, itself), loss(), None),
    "nearly all in range": (Boxes(torch.tanh, torch.tanh), loss(sizes=SIZES * 0.5), None),
    "exponential": (Boxes(torch.exp, torch.exp), loss(sizes=SIZES.exp()), None),
}


@pytest.mark.parametrize("name", CASES)
def test_a_term_is_compared_with_its_own_range(name: str) -> None:
    model, step, made = CASES[name]
    facts = facts_of(model, (X, PLACES), training_step=step)
    assert facts.graph is not None
    found = facts.graph.bounded_term
    assert (found[1] if found is not None else None) == made
    codes = [f.code for f in diagnose(Evidence(facts=facts)).findings if f.severity != "hint"]
    assert codes == ([f"unreachable_target.{made}"] if made else [])
