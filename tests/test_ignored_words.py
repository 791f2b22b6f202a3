"""A class of words that the loss ignores, told from padding and from what a masked language model leaves out."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import check
from trainability.doctor.measure.ignored_words import are_between

WORDS, LENGTH, TAGS = 60, 12, 4


def tagged(*, padded: bool) -> tuple[Tensor, Tensor]:
    """Sentences whose words below 12 have a tag of their own, and all others the tag 0; padding has it, too."""
    rng = torch.Generator().manual_seed(0)
    words = torch.randint(1, WORDS, (96, LENGTH), generator=rng)
    if padded:
        words = words.masked_fill(torch.arange(LENGTH) >= torch.randint(6, LENGTH, (96, 1), generator=rng), 0)
    return words, torch.where((words > 0) & (words < 12), 1 + words % (TAGS - 1), 0)


def by_context(words: Tensor) -> Tensor:
    """Tags of which 0 is that of most words above 30, and of a few below."""
    rng = torch.Generator().manual_seed(1)
    is_zero = torch.rand(words.shape, generator=rng) < torch.where(words > 30, 0.9, 0.1)
    return torch.where((words > 0) & ~is_zero, 1 + words % (TAGS - 1), 0)


def at_random(words: Tensor) -> Tensor:
    """Tags of half of the words, whichever they are."""
    rng = torch.Generator().manual_seed(1)
    return torch.where((words > 0) & (torch.rand(words.shape, generator=rng) < 0.5), 1 + words % (TAGS - 1), 0)


def in_pieces(rng: torch.Generator, kind: str) -> tuple[Tensor, Tensor]:
    """Words of one to three pieces, of which the first alone has a tag; pieces say that a word goes on, or has gone on."""
    pieces, tags = torch.zeros(64, 24, dtype=torch.long), torch.zeros(64, 24, dtype=torch.long)
    for row in range(64):
        at = 0
        while at < 20:
            size = int(torch.randint(1, 4, (1,), generator=rng))
            for k, piece in enumerate((torch.rand(size, generator=rng) ** 3 * 26).long().tolist()):
                goes_on = {"marked behind": k < size - 1, "marked in front": k > 0, "letters": False}[kind]
                pieces[row, at], tags[row, at] = 2 + piece + 26 * goes_on, 0 if k else 1 + piece % 3
                at += 1
            if kind == "letters":
                pieces[row, at] = 1
                at += 1
    return pieces, tags


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.out = nn.Embedding(WORDS, 16), nn.Linear(16, TAGS)

    def forward(self, words: Tensor) -> Tensor:
        return self.out(self.words(words))


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize(("ignored", "found"), [(0, True), (-100, False)])
def test_a_tag_that_is_ignored_is_named(ignored: int, found: bool, flat: bool) -> None:
    def loss_fn(logits: Tensor, tags: Tensor) -> Tensor:
        return F.cross_entropy(
            logits.flatten(0, 1) if flat else logits.mT, tags.flatten() if flat else tags, ignore_index=ignored
        )

    torch.manual_seed(0)
    model, (words, tags) = Tagger(), tagged(padded=True)
    batches = [(words[i : i + 16], tags[i : i + 16]) for i in range(0, 96, 16)]
    report = check(model, batches, loss_fn, optimizer=torch.optim.Adam(model.parameters(), 1e-2), rehearse_seconds=0.5)
    assert ("class_imbalance.ignored" in [f.code for f in report.findings]) == found


def test_padding_and_words_that_are_asked_for_themselves_are_left_alone() -> None:
    words, tags = tagged(padded=True)
    assert are_between(words, tags, 0, TAGS)
    assert not are_between(words, torch.where(words > 0, 1 + words % 3, 0), 0, TAGS)  # nothing but padding has the class 0
    assert not are_between(words, tags, 0, WORDS)  # a masked language model's
    pieces = torch.where(torch.arange(LENGTH) > 0, tags, 1 + words % 3)  # words of several pieces, of which the first has a tag
    assert not are_between(words, pieces, 0, TAGS)
    begun, marks = (F.pad(t, (1, 0), value=v) for t, v in ((words, 61), (pieces, 0)))
    assert not are_between(begun, marks, 0, TAGS)
    assert are_between(begun, F.pad(tags, (1, 0)), 0, TAGS)
    opened = F.pad(words, (1, 0), value=61)
    assert are_between(opened, F.pad(by_context(words), (1, 0), value=1), 0, TAGS)  # the first word is asked for in each
    assert not are_between(opened, F.pad(at_random(words), (1, 0), value=1), 0, TAGS)
    prompts = torch.where(torch.arange(LENGTH) < 6, 0, 1 + words % 3)
    assert not are_between(words, prompts, 0, TAGS)  # left out from the beginning on


@pytest.mark.parametrize("kind", ["marked behind", "marked in front", "letters"])
def test_later_pieces_of_a_word_are_left_alone(kind: str) -> None:
    pieces, tags = in_pieces(torch.Generator().manual_seed(0), kind)
    assert not are_between(pieces, tags, 0, TAGS)
