"""Whether validation's words are known: counts of training's words, read to the end, beside validation's texts."""

import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.batches import tensors
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.measure.words import bag_of
from trainability.doctor.readings import UnknownWords

_MOST_EXAMPLES, _SECONDS = 20000, 4.0
_FEWEST_EXAMPLES, _FEWEST_WORDS, _FEWEST_KINDS, _FEWEST_PLACES = 50, 1000, 100, 8  # of a split; of training; of a text
_MANY, _ALIKE = 0.2, 0.25  # of validation's words; of two shares, by which they may differ
_MOST = 0.7  # of validation's words: numbers that hardly ever come again are places or times
_SURE, _TENTH, _QUARTER = 8.0, 0.1, 0.25


def unknown_words(train: Iterable[Any], held_out: Iterable[Any], target: str) -> UnknownWords | None:
    """Compare the words that occur once in training with the words of validation that are not known.

    Of texts of one kind, the share of words that are new is the share of those that occurred once before (Good and Turing).

    Args:
        train: loader, read to its end, for a few seconds at most.
        held_out: likewise.
        target: what `tensors` calls the target of a batch, which holds no words of the text.

    Returns:
        What becomes of a fifth of validation's words or more; None where fewer are unknown, where batches hold something else
        than texts with one class or value each, or where the words that occur once in training do not explain it.
    """
    with randomness_restored(), generators_restored(train), generators_restored(held_out):
        until = time.perf_counter() + _SECONDS
        first = _texts(train, target, until, _is_text)
        second = _texts(held_out, target, until, _is_long) if first is not None else None
    if first is None or second is None:
        return None
    padding = _padding(first), _padding(second)
    return compared(*([_without(text, *pad) for text in texts] for texts, pad in zip((first, second), padding, strict=True)))


def compared(train: list[Tensor], held_out: list[Tensor]) -> UnknownWords | None:
    """The same of texts without padding, all that there are."""
    lengths, others = (torch.tensor([float(len(text)) for text in part]) for part in (train, held_out))
    if min(len(lengths), len(others)) < _FEWEST_EXAMPLES or float(lengths.mean()) < _FEWEST_PLACES or not others.sum():
        return None
    (kinds, counts), words = torch.cat(train).unique(return_counts=True), torch.cat(held_out)
    if len(kinds) < _FEWEST_KINDS or int(counts.sum()) < _FEWEST_WORDS:
        return None
    once = float((counts == 1).sum() / counts.sum())
    shorter = float(1 - others.mean() / lengths.mean())
    error = float((lengths.var() / len(lengths) + others.var() / len(others)).sqrt())
    is_shorter = float(lengths.mean() - others.mean()) >= _SURE * error
    new = 1 - float(torch.isin(words, kinds).double().mean())
    one = _one_word(words, kinds, counts)
    shares = {"left out": shorter if is_shorter else 0.0, "one word": one, "new": new}
    of_training: dict[str, Any] = {"once": once, "num_words": int(counts.sum()), "num_kinds": len(kinds)}
    for becomes, share in shares.items():
        if _MANY <= share <= _MOST and abs(share - once) <= _ALIKE * max(share, once):
            return UnknownWords(becomes=becomes, unknown=share, **of_training)
    if one >= _MANY and once <= _QUARTER * one:
        return UnknownWords(becomes="one word", unknown=one, is_prepared_otherwise=True, **of_training)
    return None


def _one_word(words: Tensor, kinds: Tensor, counts: Tensor) -> float:
    """Share of validation that is its most frequent word, where that is rare in training; 0 where it is not."""
    names, own = words.unique(return_counts=True)
    name, share = names[own.argmax()], float(own.max() / own.sum())
    there = counts[kinds == name]
    before = float(there[0] / counts.sum()) if len(there) else 0.0
    return share if before <= _TENTH * share else 0.0


def _texts(batches: Iterable[Any], target: str, until: float, is_text: Callable[[Tensor], bool]) -> list[Tensor] | None:
    texts: list[Tensor] = []
    for batch in batches:
        found = {name: tensor.detach().cpu() for name, tensor in tensors(batch)}
        wanted = found.pop(target, None)
        whole = [t.long() for t in found.values() if not t.is_floating_point() and not t.is_complex() and t.dtype != torch.bool]
        if wanted is None or wanted.dim() == 0 or wanted.numel() != len(wanted):
            return None
        if any(t.is_floating_point() and t.dim() > 1 for t in found.values()):
            return None
        rows = [t for t in whole if t.dim() == 2 and len(t) == len(wanted) and t.numel()]
        if not texts and rows and not any(map(is_text, rows)):  # columns of a table
            return None
        if rows:
            texts += max(rows, key=lambda t: int(t.max())).unbind()  # a mask beside it holds ones
        elif (bag := bag_of([t for t in whole if t.dim() == 1 and t.numel()], len(wanted))) is not None:
            texts += bag[0][: len(bag[1])].split(torch.bincount(bag[1], minlength=len(wanted)).tolist())
        else:
            return None
        if len(texts) > _MOST_EXAMPLES or time.perf_counter() > until:
            return None
    return texts


def _is_long(rows: Tensor) -> bool:
    return rows.shape[1] >= _FEWEST_PLACES


def _is_text(rows: Tensor) -> bool:
    """Whether any word may be at any place: the numbers of half of the places span a quarter of all, or more."""
    if not _is_long(rows):
        return False
    columns = (rows.amax(dim=0) - rows.amin(dim=0)).double()
    return float(columns.median()) > float(rows.max() - rows.min()) / 4


def _padding(texts: list[Tensor]) -> tuple[int | None, int | None]:
    """The word that texts most often begin with twice, and that which they most often end with twice."""
    long = [text for text in texts if len(text) > 1]
    begins = [int(text[0]) for text in long if text[0] == text[1]]
    ends = [int(text[-1]) for text in long if text[-1] == text[-2]]
    most = [max(set(found), key=found.count) if found else None for found in (begins, ends)]
    return most[0], most[1]


def _without(text: Tensor, begin: int | None, end: int | None) -> Tensor:
    """A text without the words of padding at both of its ends."""
    kept = torch.ones(len(text), dtype=torch.bool)
    if begin is not None:
        kept &= (text != begin).cumsum(0) > 0
    if end is not None:
        kept &= (text != end).flip(0).cumsum(0).flip(0) > 0
    return text[kept]
