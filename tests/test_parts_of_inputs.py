"""Inputs that a model takes in one tuple: which tensors are inputs, and which are targets."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import check


class Pool(nn.Module):
    """Attention over events of customers, each a kind and an amount; the mask says where an event is."""

    def __init__(self, hides_events: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.hides_events = hides_events
        self.kind, self.amount = nn.Embedding(9, 16, padding_idx=0), nn.Linear(1, 16)
        self.score, self.value, self.head = nn.Linear(16, 1), nn.Linear(16, 16), nn.Linear(16, 2)

    def forward(self, inputs: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        kinds, amounts, mask = inputs
        x = self.kind(kinds) + self.amount(amounts[:, :, None])
        blocked = mask if self.hides_events else ~mask
        weights = self.score(x)[:, :, 0].masked_fill(blocked, -1e9).softmax(dim=1)
        return self.head((weights[:, None] @ self.value(x))[:, 0].relu())


def customers(num_batches: int = 12) -> list[Any]:
    draw = torch.Generator().manual_seed(1)
    found = []
    for _ in range(num_batches):
        kinds = torch.randint(1, 9, (32, 12), generator=draw)
        mask = torch.arange(12) < torch.randint(4, 12, (32, 1), generator=draw)
        kinds, amounts = kinds * mask, torch.randn(32, 12, generator=draw) * mask
        found.append(((kinds, amounts, mask), ((kinds == 3).sum(1) > (kinds == 7).sum(1)).long()))
    return found


def codes(hides_events: bool) -> list[str]:
    model = Pool(hides_events)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    found = check(model, customers(), F.cross_entropy, optimizer, rehearse_seconds=20).findings
    return [finding.code for finding in found if finding.severity != "hint"]


def test_events_that_are_hidden_are_the_one_cause() -> None:
    assert codes(hides_events=True) == ["ignored_end.padding"]


def test_padding_that_is_hidden_is_none() -> None:
    assert codes(hides_events=False) == []
