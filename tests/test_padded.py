"""Targets beside padded words: padding at the other end, and padding that the loss asks for, beside sound twins."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.facts import Facts
from trainability.doctor.measure.facts import look

PLACES = torch.arange(20)


def tagged(filler: int) -> tuple[Tensor, Tensor]:
    """Words (32, 20) with zeros behind the last, and tags below 3 with a filler there."""
    rng = torch.Generator().manual_seed(0)
    words, tags = torch.randint(1, 50, (32, 20), generator=rng), torch.randint(3, (32, 20), generator=rng)
    gone = torch.randint(4, 13, (32, 1), generator=rng) <= PLACES
    return words.masked_fill(gone, 0), tags.masked_fill(gone, filler)


def to_the_end(rows: Tensor, words: Tensor) -> Tensor:
    """The same rows with their padding in front."""
    short = (words == 0).sum(dim=1, keepdim=True)
    return rows.gather(1, (PLACES - short) % 20)


class Tagger(nn.Module):
    """Three numbers for each word and its neighbours, (n, t, 3) or (n, 3, t)."""

    def __init__(self, *, classes_first: bool = False) -> None:
        super().__init__()
        self.words, self.classes_first = nn.Embedding(50, 8), classes_first
        self.gru, self.out = nn.GRU(8, 8, batch_first=True, bidirectional=True), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        made = self.out(self.gru(self.words(x))[0])
        return made.transpose(1, 2) if self.classes_first else made


def by_words(model: Any, batch: Any, *, ignored: int = -100) -> Tensor:
    made = model(batch[0])
    made = made.transpose(1, 2) if made.shape[1] == 3 else made
    return F.cross_entropy(made.flatten(0, 1), batch[1].flatten(), ignore_index=ignored)


def clamped(model: Any, batch: Any) -> Tensor:
    return by_words(model, (batch[0], batch[1].clamp(min=0)))


def by_difference(model: Any, batch: Any) -> Tensor:
    """A loss of numbers, in which what is below zero counts."""
    return (model(batch[0])[..., 0] - batch[1]).abs().mean()


def masked(model: Any, batch: Any) -> Tensor:
    each = F.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].clamp(min=0).flatten(), reduction="none")
    return (each * (batch[1].flatten() >= 0)).sum() / (batch[1] >= 0).sum()


def told(facts: Facts) -> dict[str, str]:
    return {
        f.code: f.severity for f in diagnose(Evidence(facts=facts)).findings if f.rule in ("class_imbalance", "shuffled_labels")
    }


@pytest.mark.parametrize(
    ("loss", "filler", "severity"),
    [
        (clamped, -100, "warning"),
        (by_difference, -1, "warning"),
        (by_words, 0, "hint"),
        (by_words, -100, None),
        (masked, -1, None),
    ],
)
@pytest.mark.parametrize("classes_first", [False, True])
def test_padding_that_the_loss_asks_for_is_told(
    loss: Callable[[Any, Any], Tensor], filler: int, severity: str | None, classes_first: bool
) -> None:
    if classes_first and loss in (by_difference, masked):
        pytest.skip("one layout is enough")
    facts = look(Tagger(classes_first=classes_first), tagged(filler), loss)
    assert told(facts).get("class_imbalance.padding") == severity


def test_a_class_of_padding_alone_is_left_alone() -> None:
    words, tags = tagged(0)
    tags = torch.where(words == 0, 0, tags.clamp(min=1))
    assert look(Tagger(), (words, tags), by_words).padding_asked is None


@pytest.mark.parametrize("filler", [-100, 0])
@pytest.mark.parametrize("words_in_front", [False, True])
def test_words_and_targets_that_are_padded_at_different_ends_are_told(filler: int, words_in_front: bool) -> None:
    words, tags = tagged(filler)
    moved = to_the_end(words, words)
    apart = (words, to_the_end(tags, words)) if words_in_front else (moved, tags)
    alike = (words, tags) if words_in_front else (moved, to_the_end(tags, words))
    assert told(look(Tagger(), apart, by_words)).get("shuffled_labels.padded") == "warning"
    assert look(Tagger(), alike, by_words).padded_apart is None


def test_targets_of_lengths_of_their_own_are_left_alone() -> None:
    (words, _), rng = tagged(0), torch.Generator().manual_seed(1)
    tags = torch.randint(1, 3, (32, 20), generator=rng).masked_fill(torch.randint(5, 16, (32, 1), generator=rng) > PLACES, 0)
    assert look(Tagger(), (words, tags), by_words).padded_apart is None
