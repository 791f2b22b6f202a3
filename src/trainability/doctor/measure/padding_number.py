"""Rows of words, and the number that they are padded with."""

from typing import Any

import torch
from torch import Tensor

_FEWEST_PLACES = 4


def are_words(x: Any) -> bool:
    """Whether these are whole numbers (sequences, places)."""
    if not isinstance(x, Tensor) or x.is_floating_point() or x.dtype == torch.bool:
        return False
    return x.dim() == 2 and x.shape[1] > _FEWEST_PLACES


def padding_of(words: Tensor) -> int | None:
    """The number that stands at one end of a quarter of the sequences, as often as they are short, and nowhere between.

    What ends every sequence once is a mark of the end, and no padding.
    """
    for end in (words, words.flip(1)):
        number = int(end[:, -1].mode().values)
        is_word = end != number
        behind = is_word.flip(1).cumsum(dim=1).flip(1) == 0
        if bool((behind.sum(dim=1) == 1).all()):
            continue
        if float((~is_word[:, -1]).float().mean()) >= 0.25 and torch.equal(~is_word, behind) and bool(is_word.any(dim=1).all()):
            return number
    return None
