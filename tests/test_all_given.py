"""Whether every tensor of a batch goes into the model, so that none of them is a target that the other should predict."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainability.doctor.measure.certain import facts_of

RNG = torch.Generator().manual_seed(0)
ONE, OTHER = torch.randn(12, 6, generator=RNG), torch.randn(12, 6, generator=RNG)


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Linear(6, 8), nn.Linear(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).relu())


def agree(one: Tensor, other: Tensor) -> Tensor:
    logits = nn.functional.normalize(one, dim=1) @ nn.functional.normalize(other, dim=1).T
    return nn.functional.cross_entropy(logits / 0.5, torch.arange(len(one)))


def joined(model: Any, batch: Any) -> Tensor:
    return agree(*model(torch.cat([batch[0], batch[1]])).chunk(2))


def by_turns(model: Any, batch: Any) -> Tensor:
    rows = model(torch.stack([batch[0], batch[1]], dim=1).flatten(0, 1))
    return agree(rows[::2], rows[1::2])


STEPS: dict[str, tuple[Callable[[Any, Any], Tensor], bool]] = {
    "two calls": (lambda model, batch: agree(model(batch[0]), model(batch[1])), True),
    "two calls of its parts": (lambda model, batch: agree(model.body(batch[0]), model.body(batch[1])), True),
    "joined": (joined, True),
    "by turns": (by_turns, True),
    "a target": (lambda model, batch: nn.functional.mse_loss(model(batch[0]), batch[1]), False),
    "two calls beside a target": (
        lambda model, batch: (model(batch[0]) - model(batch[0] + 0.1) - batch[1]).square().mean(),
        False,
    ),
}


@pytest.mark.parametrize("name", STEPS)
def test_views_are_given(name: str) -> None:
    step, given = STEPS[name]
    assert facts_of(Encoder(), (ONE, OTHER), training_step=step).all_given is given
