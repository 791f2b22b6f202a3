"""Two tables of embeddings looked up by one column of the batch, and a column that nothing uses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.measure.same_words import same_words


class Ratings(nn.Module):
    """Factors and a bias for each user and item; what `asked` names is looked up in the items' table."""

    def __init__(self, asked: str, items: int = 30) -> None:
        super().__init__()
        self.asked = asked
        self.user, self.item, self.bias = nn.Embedding(40, 6), nn.Embedding(items, 6), nn.Embedding(40, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        vectors = self.item(user if self.asked == "user" else item)
        return (self.user(user) * vectors).sum(1) + self.bias(user).squeeze(1)


def rows(num_items: int = 30, users: int = 30) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randint(users, (32,)), torch.randint(num_items, (32,)), torch.randn(32)


def of_columns(model: nn.Module, batch: Any) -> Tensor:
    return F.mse_loss(model(*batch[0].unbind(1)), batch[1])


def of_tensors(model: nn.Module, batch: Any) -> Tensor:
    return F.mse_loss(model(batch[0], batch[1]), batch[2])


def test_the_column_that_is_looked_up_twice_is_named_and_the_one_that_is_not() -> None:
    user, item, rating = rows()
    told = same_words(Ratings("user"), (user, item, rating), of_tensors)
    assert told is not None
    assert (told.given, told.unread, told.layer, told.how) == ("[0]", "[1]", "item", "tables")
    told = same_words(Ratings("user"), (torch.stack([user, item], 1), rating), of_columns)
    assert told is not None
    assert (told.given, told.unread, told.layer) == ("[0][:, 0]", "[0][:, 1]", "item")


class OfUsers(nn.Module):
    """Two tables for the user alone, of two widths, as of a factor and a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.bias = nn.Embedding(40, 6), nn.Embedding(40, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.user(user).sum(1) + self.bias(user).squeeze(1)


@pytest.mark.parametrize(
    ("model", "num_items"),
    [
        (Ratings("item"), 30),
        (Ratings("user"), 3),  # a flag, that may be left out
        (Ratings("user"), 400),  # no table has a row for it
        (OfUsers(), 30),
    ],
)
def test_sound_lookups_are_silent(model: nn.Module, num_items: int) -> None:
    assert same_words(model, rows(num_items, users=20), of_tensors) is None


def test_a_column_that_the_loss_goes_by_is_used() -> None:
    def weighted(model: nn.Module, batch: Any) -> Tensor:
        return (batch[1] * (model(batch[0], batch[1]) - batch[2]).square()).mean()

    assert same_words(Ratings("user"), rows(), weighted) is None


def test_a_step_that_differs_from_call_to_call_is_not_asked() -> None:
    calls: list[None] = []

    def drifting(model: nn.Module, batch: Any) -> Tensor:
        calls.append(None)
        return of_tensors(model, batch) + len(calls)

    assert same_words(Ratings("user"), rows(), drifting) is None


class TwoParts(nn.Module):
    """Real and imaginary vectors of each thing and relation, as of ComplEx; the time is not read."""

    def __init__(self) -> None:
        super().__init__()
        self.re, self.im, self.rr, self.ri = (nn.Embedding(40, 6) for _ in range(4))

    def forward(self, thing: Tensor, relation: Tensor) -> Tensor:
        return (self.re(thing) * self.rr(relation) + self.im(thing) * self.ri(relation)).sum(1)


def test_vectors_in_two_parts_are_meant() -> None:
    thing, relation, rating = rows()
    batch = (thing, relation, torch.randint(30, (32,)), rating)

    def step(model: nn.Module, given: Any) -> Tensor:
        return F.mse_loss(model(given[0], given[1]), given[3])

    assert same_words(TwoParts(), batch, step) is None
