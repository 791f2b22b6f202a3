"""Offsets of bags of words: places, and lengths in their place."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.measure.facts import look

LENGTHS = torch.tensor([4, 7, 3, 9, 5, 6, 2, 8])


class Bags(nn.Module):
    def __init__(self, by_name: bool) -> None:
        super().__init__()
        self.by_name, self.bag, self.head = by_name, nn.EmbeddingBag(30, 8), nn.Linear(8, 2)

    def forward(self, words: Tensor, offsets: Tensor) -> Tensor:
        return self.head(self.bag(words, offsets=offsets) if self.by_name else self.bag(words, offsets))


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize(("begins", "share"), [("lengths", 3 / 7), ("places", None)])
def test_offsets_that_fall_are_no_places(begins: str, share: float | None, by_name: bool) -> None:
    torch.manual_seed(0)
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), LENGTHS[:-1]])
    offsets = starts if begins == "lengths" else starts.cumsum(dim=0)
    batch = torch.randint(30, (int(LENGTHS.sum()),)), offsets, torch.randint(2, (8,))

    def step(model: Any, given: Any) -> Tensor:
        return F.cross_entropy(model(given[0], given[1]), given[2])

    found = look(Bags(by_name), batch, step).falling_offsets
    assert found == (None if share is None else ("bag", pytest.approx(share)))
