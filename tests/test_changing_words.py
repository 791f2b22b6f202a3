"""Vocabularies that change within the data, and data whose words keep their meaning in spite of their order."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, random_split

import trainability
from trainability.doctor import diagnose
from trainability.doctor.evidence import Evidence
from trainability.doctor.facts import Facts
from trainability.doctor.measure.changing_words import compared
from trainability.doctor.readings import Readings

EXAMPLES, WORDS, PLACES = 3000, 60, 12


def texts(seed: int = 0, *, words: int = WORDS) -> tuple[Tensor, Tensor]:
    """Rows of words, of which each of three classes prefers some; all are about as frequent."""
    rng = torch.Generator().manual_seed(seed)
    classes = torch.randint(3, (EXAMPLES,), generator=rng)
    liked = torch.randn(3, words, generator=rng)
    liked = (liked - liked.mean(dim=0)).exp()  # by frequency alone, a vocabulary of each chunk would not differ much
    return torch.multinomial(liked[classes], PLACES, replacement=True, generator=rng), classes


def encoded(words: Tensor, chunk: int, *, by_frequency: bool = True) -> Tensor:
    """Indices from a vocabulary of each chunk, the most frequent word first, or the first that occurs."""
    parts = []
    for part in words.split(chunk):
        if by_frequency:
            order = torch.bincount(part.flatten(), minlength=WORDS).argsort(descending=True, stable=True)
        else:
            seen = list(dict.fromkeys(part.flatten().tolist()))
            order = torch.tensor(seen + sorted(set(range(WORDS)) - set(seen)))
        parts.append(order.argsort()[part] + 2)
    return torch.cat(parts)


def is_told(words: Tensor, classes: Tensor) -> bool:
    counts = torch.zeros(EXAMPLES, int(words.max()) + 1)
    counts.scatter_add_(1, words, torch.ones(words.shape))
    found = compared(counts.unflatten(0, (10, -1)), classes.unflatten(0, (10, -1)))
    facts = Facts(readings=Readings(changing=found))
    return "split_shift.chunks" in {f.code for f in diagnose(Evidence(facts=facts)).findings}


@pytest.mark.parametrize("by_frequency", [False, True])
@pytest.mark.parametrize("chunk", [100, 170, 300, 1000, 1500])
def test_a_vocabulary_of_each_chunk_is_told(chunk: int, by_frequency: bool) -> None:
    words, classes = texts(1)
    words = torch.randperm(WORDS, generator=torch.Generator().manual_seed(1))[words]  # not by frequency as it is
    assert is_told(encoded(words, chunk, by_frequency=by_frequency), classes)
    assert not is_told(words + 2, classes)


def _in_order_of_classes() -> tuple[Tensor, Tensor]:
    words, classes = texts()
    order = classes.argsort(stable=True)
    return words[order], classes[order]


def _in_order_of_topics() -> tuple[Tensor, Tensor]:
    """Most words are of one part of the data alone, and tell the class there."""
    words, classes = texts()
    return words + WORDS * (torch.arange(EXAMPLES) // 300)[:, None], classes


def _two_languages() -> tuple[Tensor, Tensor]:
    words, classes = texts()
    return torch.where(torch.arange(EXAMPLES)[:, None] < EXAMPLES // 2, words, words + WORDS), classes


def _products() -> tuple[Tensor, Tensor]:
    """The product that a review names tells most of its class, and is of one stretch; other words are everywhere."""
    rng = torch.Generator().manual_seed(0)
    words, _ = texts()
    classes = torch.randint(3, (EXAMPLES,), generator=rng)
    product = WORDS + 3 * (torch.arange(EXAMPLES) // 150) + classes
    words[:, 0] = torch.where(torch.rand(EXAMPLES, generator=rng) < 0.8, product, words[:, 0])
    return words, classes


def _of_users() -> tuple[Tensor, Tensor]:
    """Each user has a taste, and is named in the first place."""
    words, classes = texts()
    user = torch.arange(EXAMPLES) // 150
    tastes = torch.stack([torch.randperm(WORDS, generator=torch.Generator().manual_seed(k)) for k in range(20)])
    return torch.cat([WORDS + user[:, None], tastes[user].gather(1, words)], dim=1), classes


def _drifting() -> tuple[Tensor, Tensor]:
    """Which words and classes are frequent changes through the data; what they have to do with each other does not."""
    rng = torch.Generator().manual_seed(0)
    time = torch.linspace(0, 1, EXAMPLES)
    classes = (torch.rand(EXAMPLES, generator=rng) * 2 + time).long().clamp(max=2)
    liked = torch.randn(3, WORDS, generator=rng)[classes] + 2 * time[:, None] * torch.randn(WORDS, generator=rng)
    return torch.multinomial(liked.exp(), PLACES, replacement=True, generator=rng), classes


def _unrelated() -> tuple[Tensor, Tensor]:
    words, _ = texts()
    return words, texts(5)[1]


SOUND = (_in_order_of_classes, _in_order_of_topics, _two_languages, _products, _of_users, _drifting, _unrelated)


@pytest.mark.parametrize("make", SOUND)
def test_words_that_keep_their_meaning_are_left_alone(make: Callable[[], tuple[Tensor, Tensor]]) -> None:
    assert not is_told(*make())


class Bag(nn.Module):
    """Mean of embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.EmbeddingBag(WORDS + 2, 16), nn.Linear(16, 3)

    def forward(self, words: Tensor) -> Tensor:
        return self.head(self.table(words))


@pytest.mark.parametrize("chunk", [150, EXAMPLES])
@pytest.mark.parametrize("is_split", [False, True])
def test_a_check_reads_the_data_in_their_order(chunk: int, is_split: bool) -> None:
    torch.manual_seed(0)
    words, classes = texts(1)
    words = torch.randperm(WORDS)[words]
    data = TensorDataset(encoded(words, chunk), classes)
    part = random_split(data, [2500, EXAMPLES - 2500])[0] if is_split else data
    loader = DataLoader(part, 50, shuffle=True)
    diagnosis = trainability.check(Bag(), loader, nn.CrossEntropyLoss(), rehearse_seconds=0)
    assert ("split_shift.chunks" in {f.code for f in diagnosis.findings}) == (chunk < EXAMPLES)
