"""Words that a loss asks nothing of although they stand between others that it asks of: a class, and no padding."""

import math

import torch
from torch import Tensor

_FEWEST_WORDS, _MOST_OF_ONE = 8, 0.5  # different words there, and the share of the most frequent: padding is one and the same
_LEAST_SHARE = 0.05  # of all places
_FEWEST_PAIRS, _UNLIKE = 40, 0.05  # of places with one word; share of them that differ
_SURE, _AT_RANDOM = 4.0, 2.0  # standard errors


def are_between(words: Tensor, target: Tensor, index: int, num_classes: int) -> bool:
    """Whether places whose class a loss ignores hold words of all kinds, with asked ones on both sides.

    Args:
        words: (sequences, places) integers.
        target: a class for each place, in this shape or in one row.
        index: the class that is ignored.
        num_classes: that the model tells. Where they are as many as words, the words themselves are asked for, as in masked
            language models, and what is not masked is left out by whatever number the author chose.
    """
    if words.dim() != 2 or target.numel() != words.numel() or target.is_floating_point() or words.numel() == 0:
        return False
    asked = target.reshape(words.shape) != index
    before, after = asked.cumsum(dim=1) > 0, asked.flip(1).cumsum(dim=1).flip(1) > 0
    found = words[~asked & before & after]
    if found.numel() < _LEAST_SHARE * words.numel() or 2 * num_classes > words.unique().numel():
        return False
    counts = found.unique(return_counts=True)[1]
    if len(counts) < _FEWEST_WORDS or int(counts.max()) > _MOST_OF_ONE * found.numel():
        return False
    start = 1 + _first(words)  # the first piece of all is no later one
    counted = (before & after)[:, start:]
    now, then, is_asked = (t[counted] for t in (words[:, start:], words[:, start - 1 : -1], asked[:, start:]))
    by_word, by_last = _agreement(now, is_asked), _agreement(then, is_asked)
    if by_word is None or by_last is None:
        return _begin(words, asked)
    sure = [(agree - chance) / math.sqrt(chance * (1 - chance) / number) for agree, chance, number in (by_word, by_last)]
    if max(sure) < _AT_RANDOM:  # words that were left out at random, as where few have been labelled
        return False
    # What pieces of a word are asked for is told by the piece, or by the one before, where a mark says that a word goes on.
    is_told = max(by_word[0], by_last[0]) > 1 - _UNLIKE
    return _begin(words, asked) or (not is_told and sure[0] > _SURE)


def _begin(words: Tensor, asked: Tensor) -> bool:
    """Whether different words that are ignored begin sequences: later pieces of a word, whose first alone has a tag, do not."""
    first = _first(words)
    return len(words[:, first][~asked[:, first]].unique()) > 1


def _first(words: Tensor) -> int:
    """The place of the first words: behind a mark of the beginning."""
    return 1 if bool((words[:, 0] == words[0, 0]).all()) else 0


def _agreement(words: Tensor, asked: Tensor) -> tuple[float, float, int] | None:
    """Of pairs of places with one and the same word: the share that agree, that by chance, and how many; None of too few."""
    kinds, place = words.unique(return_inverse=True)
    count, yes = (torch.zeros(len(kinds)).index_add_(0, place.cpu(), x.float().cpu()) for x in (torch.ones_like(asked), asked))
    pairs = count * (count - 1) / 2
    alike = (yes * (yes - 1) + (count - yes) * (count - yes - 1)) / 2
    # Pairs of a frequent word are not independent of each other: one place is in as many as the word is frequent, less one.
    number, share = int(count[count > 1].sum() / 2), float(asked.float().mean())
    if number < _FEWEST_PAIRS:
        return None
    weight = pairs / (count - 1).clamp(min=1)
    agree = float((alike / pairs.clamp(min=1) * weight).sum() / weight.sum())
    return agree, share**2 + (1 - share) ** 2, number
