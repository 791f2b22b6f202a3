"""Models whose answers a clamp makes: all of them beyond its limits, at them by themselves, or inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import check
from trainability.doctor import Monitor, diagnose

CODE = "flat_loss.held"


class Stars(nn.Module):
    """Factors of users and films, small at the start, and biases of zero."""

    def __init__(self, limit: Callable[[Tensor], Tensor], *, in_training: bool = True, bias: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.limit, self.in_training, self.bias = limit, in_training, bias
        self.user, self.item, self.of_user = nn.Embedding(30, 4), nn.Embedding(20, 4), nn.Embedding(30, 1)
        nn.init.normal_(self.user.weight, std=0.1)
        nn.init.normal_(self.item.weight, std=0.1)
        nn.init.zeros_(self.of_user.weight)

    def forward(self, pairs: Tensor) -> Tensor:
        users, items = pairs.unbind(dim=1)
        rating = (self.user(users) * self.item(items)).sum(dim=1) + self.of_user(users)[:, 0] + self.bias
        return self.limit(rating) if self.in_training or not self.training else rating


class Zeros(nn.Module):
    """Linear layers of zeros: its answers are at the limit by themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
        for p in self.parameters():
            nn.init.zeros_(p)

    def forward(self, pairs: Tensor) -> Tensor:
        return self.layers(pairs.float())[:, 0].clamp(0.0, 6.0)


def ratings() -> list[tuple[Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(1)
    pairs = [
        torch.stack([torch.randint(30, (32,), generator=draw), torch.randint(20, (32,), generator=draw)], 1) for _ in range(8)
    ]
    return [(each, (each.sum(dim=1) % 5 + 1).float()) for each in pairs]


def checked(model: nn.Module) -> list[str]:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    found = check(model, ratings(), F.mse_loss, optimizer, rehearse_seconds=10).findings
    return [finding.code for finding in found if finding.severity == "error"]


def watched(model: nn.Module) -> list[str]:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with Monitor(model, optimizer, every=5) as monitor:
        for x, y in ratings() * 3:
            loss = F.mse_loss(model(x), y)
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
            optimizer.zero_grad()
    return [finding.code for finding in diagnose(monitor.evidence()).findings if finding.severity == "error"]


def one_to_five(x: Tensor) -> Tensor:
    return x.clamp(1.0, 5.0)


@pytest.mark.parametrize("ask", [checked, watched])
@pytest.mark.parametrize("limit", [one_to_five, lambda x: torch.clamp(x, min=1.0), lambda x: F.hardtanh(x, 1.0, 5.0)])
def test_answers_that_are_held_are_the_cause(ask: Any, limit: Any) -> None:
    assert ask(Stars(limit)) == [CODE]


@pytest.mark.parametrize("ask", [checked, watched])
def test_answers_inside_are_not_nor_what_is_limited_in_evaluation(ask: Any) -> None:
    assert ask(Stars(one_to_five, bias=3.0)) == []
    assert ask(Stars(one_to_five, in_training=False)) == []
    assert ask(Stars(one_to_five, bias=1.0)) == []  # half of them are at the limit


@pytest.mark.parametrize("ask", [checked, watched])
def test_zeros_are_at_the_limit_by_themselves(ask: Any) -> None:
    found = ask(Zeros())
    assert CODE not in found
    assert found[0].startswith("identical_units")
