"""Texts whose words have other numbers in validation, and batches whose inputs are several tensors."""

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from trainability import check
from trainability.doctor import Diagnosis, Evidence, diagnose
from trainability.doctor.facts import Facts
from trainability.doctor.measure.words import words_compared

Text = tuple[list[str], int]
MOODS = ("glad", "sad", "angry")


def reviews(count: int, seed: int, *, moods: tuple[str, ...] = MOODS, names: int = 40) -> list[Text]:
    """A mood's own words among many that say nothing."""
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        mood = rng.randrange(len(moods))
        words = [
            f"{moods[mood]}{rng.randrange(names)}" if rng.random() < 0.25 else f"w{rng.randrange(300)}"
            for _ in range(rng.randint(12, 30))
        ]
        found.append((words, mood))
    return found


def index_of(texts: list[Text]) -> dict[str, int]:
    index = {"<pad>": 0, "<unk>": 1}
    for words, _ in texts:
        for word in words:
            index.setdefault(word, len(index))
    return index


def numbered(texts: list[Text], index: dict[str, int]) -> list[tuple[Tensor, int]]:
    return [(torch.tensor([index.get(word, 1) for word in words]), mood) for words, mood in texts]


def bags(batch: list[tuple[Tensor, int]]) -> tuple[tuple[Tensor, Tensor], Tensor]:
    words, moods = zip(*batch, strict=True)
    begins = torch.tensor([0, *map(len, words[:-1])]).cumsum(0)
    return (torch.cat(words), begins), torch.tensor(moods)


def rows(batch: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    words, moods = zip(*batch, strict=True)
    return nn.utils.rnn.pad_sequence(list(words), batch_first=True), torch.tensor(moods)


def loader(data: list[tuple[Tensor, int]], collate: Callable[[Any], Any]) -> DataLoader[Any]:
    return DataLoader(data, batch_size=50, collate_fn=collate)  # type: ignore[arg-type]


def parts(kind: str) -> tuple[list[tuple[Tensor, int]], list[tuple[Tensor, int]]]:
    train, held_out = reviews(1200, 1), reviews(400, 2)
    index = index_of(train)
    if kind == "an index each":
        return numbered(train, index), numbered(held_out, index_of(held_out))
    if kind == "another domain":  # half of the words that tell are new
        held_out = [([word + "x" if hash_of(word) % 2 else word for word in words], mood) for words, mood in held_out]
    if kind == "renamed":
        held_out = [(words, (mood + 1) % len(MOODS)) for words, mood in held_out]
    if kind == "nothing tells":
        rng = random.Random(3)
        train, held_out = ([(words, rng.randrange(3)) for words, _ in texts] for texts in (train, held_out))
    if kind == "shuffled":
        moods = [mood for _, mood in held_out]
        random.Random(4).shuffle(moods)
        held_out = [(words, mood) for (words, _), mood in zip(held_out, moods, strict=True)]
    return numbered(train, index), numbered(held_out, index)


def hash_of(word: str) -> int:
    return sum(map(ord, word))


def said(diagnosis: Diagnosis) -> list[str]:
    return [finding.code for finding in diagnosis.findings if finding.severity != "hint"]


@pytest.mark.parametrize("collate", [bags, rows])
@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("one index", None),
        ("an index each", "split_shift.meaning"),
        ("another domain", None),
        ("renamed", "validation_labels.renamed"),
        ("shuffled", "validation_labels.shuffled"),
        ("nothing tells", None),
    ],
)
def test_an_index_of_words_for_each_part_is_told(kind: str, code: str | None, collate: Callable[[Any], Any]) -> None:
    train, held_out = parts(kind)
    found = words_compared(loader(train, collate), loader(held_out, collate), "[1]")
    assert (found is None) is (kind == "nothing tells")
    assert said(diagnose(Evidence(facts=Facts(words_compared=found)))) == ([code] if code else [])


def test_what_is_no_text_is_not_compared() -> None:
    x, y = torch.randint(0, 50, (400, 3)), torch.randint(0, 2, (400,))
    columns = [(x, y)]
    assert words_compared(columns, columns, "[1]") is None  # three categories
    beside = [(torch.randint(0, 50, (400, 9)), torch.randn(400, 4), y)]
    assert words_compared(beside, beside, "[2]") is None
    points = [(torch.randn(400, 9), y)]
    assert words_compared(points, points, "[1]") is None
    assert words_compared([(x.repeat(1, 3), y.float())], columns, "[1]") is None  # values, no classes


class MeanOfWords(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bag, self.head = nn.EmbeddingBag(600, 16, mode="mean"), nn.Linear(16, 3)

    def forward(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        return self.head(self.bag(*inputs))


class TwoBranches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(4, 16), nn.Linear(6, 16), nn.Linear(16, 3)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.head(torch.tanh(self.left(left) + self.right(right)))


class Both(NamedTuple):
    left: Tensor
    right: Tensor


class OfOneArgument(TwoBranches):
    def forward(self, both: Both) -> Tensor:  # type: ignore[override]
        return super().forward(both.left, both.right)


@pytest.mark.parametrize(("kind", "expected"), [("one index", []), ("an index each", ["split_shift.meaning"])])
def test_bags_of_words_are_checked(kind: str, expected: list[str]) -> None:
    torch.manual_seed(0)
    train, held_out = parts(kind)
    model = MeanOfWords()
    found = check(
        model,
        loader(train, bags),
        nn.CrossEntropyLoss(),
        torch.optim.Adam(model.parameters(), lr=0.02),
        val_loader=loader(held_out, bags),
        rehearse_seconds=3,
    )
    assert said(found) == expected
    assert found.verdict == "will train"


@pytest.mark.parametrize("form", ["tuple", "dict", "named tuple"])
def test_inputs_in_parts_go_to_the_model_as_it_takes_them(form: str) -> None:
    torch.manual_seed(0)
    left, right = torch.randn(512, 4), torch.randn(512, 6)
    label = (left[:, 0] + right[:, 0] > 0).long() + (left[:, 1] > 1).long()
    model = OfOneArgument() if form == "named tuple" else TwoBranches()

    def inputs(at: slice) -> Any:
        made = {"left": left[at], "right": right[at]}
        return made if form == "dict" else Both(**made) if form == "named tuple" else tuple(made.values())

    batches = [(inputs(slice(i, i + 32)), label[i : i + 32]) for i in range(0, 512, 32)]
    found = check(model, batches, None, torch.optim.Adam(model.parameters(), lr=0.01), rehearse_seconds=2)
    assert said(found) == []
    assert found.evidence.rehearsal is not None
    assert found.evidence.rehearsal.steps
