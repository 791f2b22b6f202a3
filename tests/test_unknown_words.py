"""Words of validation that a vocabulary of training lacks, beside texts that are known, shorter, or of another kind."""

import random
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from trainability.doctor import Evidence, diagnose
from trainability.doctor.facts import Facts
from trainability.doctor.measure.held_out import with_held_out

STEMS = [f"{a}{b}{c}" for a in "bdfgkl" for b in "aeiou" for c in "mnrst"]
MARKS = ["", "", "", ",", ".", "!", "?", "..."]


def written(n: int, seed: int, longest: int = 16) -> list[list[str]]:
    """Texts as people write them."""
    rng = random.Random(seed)
    texts = []
    for _ in range(n):
        words = [rng.choice(STEMS) for _ in range(rng.randint(10, longest))]
        cases = [rng.choice([w, w, w.capitalize(), w.upper(), w[0] + w[1:].upper(), w[:2].upper() + w[2:]]) for w in words]
        texts.append([rng.choice(["", "", "(", '"', "*"]) + w + rng.choice(MARKS) for w in cases])
    return texts


def plain(text: list[str]) -> list[str]:
    return [word.lower().strip('.,!?("*') for word in text]


def loader(texts: list[list[int]], pad: int = 0, *, left: bool = False, longest: int = 0) -> DataLoader[Any]:
    def joined(items: list[tuple[int, list[int]]]) -> tuple[Tensor, Tensor]:
        longest_here = max(longest, *(len(ids) for _, ids in items))
        x = torch.full((len(items), longest_here), pad)
        for row, (_, ids) in zip(x, items, strict=True):
            row[longest_here - len(ids) :] = torch.tensor(ids)
            if not left:
                row[:] = row.roll(len(ids) - longest_here)
        return x, torch.tensor([k % 3 for k, _ in items])

    return DataLoader(list(enumerate(texts)), batch_size=20, shuffle=True, collate_fn=joined)  # type: ignore[arg-type]


def numbered(train: list[list[str]], held_out: list[list[str]], unknown: str) -> tuple[list[list[int]], list[list[int]]]:
    """Numbers of words, from 2 on, of training's vocabulary; unknown words are left out, numbered anew, or are 1."""
    names = {word: k + 2 for k, word in enumerate(Counter(w for text in train for w in text))}
    known = [[names[w] for w in text] for text in train]
    if unknown == "new":
        names |= {w: k + len(names) + 2 for k, w in enumerate(sorted({w for text in held_out for w in text} - set(names)))}
    return known, [[names.get(w, 1) for w in text if unknown != "left out" or w in names] for text in held_out]


def found(train: Any, held_out: Any) -> list[tuple[str, bool]]:
    facts = with_held_out(Facts(), train, held_out, "[1]")
    assert facts is not None
    findings = [f for f in diagnose(Evidence(facts=facts)).findings if f.code == "split_shift.unknown"]
    assert all(f.severity == "hint" for f in findings)
    return [(facts.readings.unknown_words.becomes, "prepared" in f.cause) for f in findings if facts.readings.unknown_words]


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("unknown", ["left out", "new", "one word"])
def test_words_with_many_spellings(unknown, left):
    train, held_out = numbered(written(400, 0), written(200, 1), unknown)
    assert found(loader(train, left=left), loader(held_out, left=left)) == [(unknown, False)]


@pytest.mark.parametrize("unknown", ["left out", "new", "one word"])
def test_silent_where_texts_are_lowered_and_stripped(unknown):
    train, held_out = numbered([plain(t) for t in written(400, 0)], [plain(t) for t in written(200, 1)], unknown)
    assert found(loader(train), loader(held_out)) == []


def test_validation_that_is_prepared_otherwise():
    train, held_out = numbered([plain(t) for t in written(400, 0)], written(200, 1), "one word")
    assert found(loader(train), loader(held_out)) == [("one word", True)]


def test_silent_for_shorter_texts_padding_of_another_length_and_few_texts():
    train, held_out = numbered([plain(t) for t in written(400, 0, 30)], [plain(t) for t in written(200, 1, 12)], "left out")
    assert found(loader(train), loader(held_out)) == []
    train, held_out = numbered([plain(t) for t in written(400, 0)], [plain(t) for t in written(200, 1)], "new")
    assert found(loader(train, pad=1), loader(held_out, pad=1, longest=60)) == []
    assert found(loader(train), loader(held_out, left=True, longest=60)) == []
    train, held_out = numbered(written(40, 0), written(200, 1), "new")
    assert found(loader(train), loader(held_out)) == []


def test_silent_for_language_models_tables_and_time_stamps():
    train, held_out = numbered(written(400, 0), written(200, 1), "new")
    of_words = [[(x, x) for x, _ in loader(part)] for part in (train, held_out)]
    assert found(*of_words) == []
    stamps = [(torch.arange(40 * k, 40 * k + 400).view(10, 40), torch.arange(10) % 3) for k in range(0, 900, 10)]
    assert found(stamps[:60], stamps[60:]) == []
    columns = [
        (torch.cat([torch.arange(k, k + 50)[:, None], torch.randint(9, (50, 6))], 1), torch.arange(50))
        for k in range(0, 900, 50)
    ]
    assert found(columns[:12], columns[12:]) == []
    floats = [(torch.randn(20, 12), torch.arange(20)) for _ in range(40)]
    assert found(floats[:30], floats[30:]) == []
