"""Words that an answer does not go by: the last of a sequence, or all but its own where only padding is attended to."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainability.doctor.measure.calls import Call
from trainability.doctor.measure.forward_pass import callable_model
from trainability.doctor.measure.influence import answer

_ROWS, _FEWEST = 12, 4
_MORE = 2  # words that a sequence has beside those that are asked about


def unread_words(call: Call) -> str | None:
    """Exchange words of padded sequences for others, and see whether any answer changes.

    Args:
        call: of a model whose first input of whole numbers (batch, places) are words; what else it takes stays as it is. It
            runs in eval mode and without gradients; the caller puts modes and buffers back.

    Returns:
        "last" where an answer for each sequence never goes by its last word, though it does by some; "all" where no answer for
        a word goes by any other while the sequence has padding, and does (or is not finite) once that is replaced by words;
        None elsewhere, and where it cannot be asked: no padding, other inputs, answers that do not repeat.
    """
    place = next((k for k, x in enumerate(call.inputs) if are_words(x)), None)
    if place is None:
        return None
    words = call.inputs[place]
    padding = padding_of(words)
    if padding is None:
        return None
    is_word = words != padding
    rows = ((is_word.sum(dim=1) > _MORE) & (is_word.sum(dim=1) < words.shape[1])).nonzero().flatten()[:_ROWS]
    if len(rows) < _FEWEST:
        return None
    size, model = len(words), callable_model(call)

    def ask(changed: Tensor) -> Tensor | None:
        given = [x[rows] if isinstance(x, Tensor) and x.dim() > 0 and len(x) == size else x for x in call.inputs]
        given[place] = changed
        return answer(model, given, len(rows))

    own, again, kept = ask(words[rows]), ask(words[rows]), is_word[rows]
    if own is None or again is None or not torch.equal(own, again):
        return None
    if own.dim() == 2:
        return _last_word(ask, own, words[rows], kept)
    if own.dim() == 3 and words.shape[1] in own.shape[1:]:
        time = 1 if own.shape[1] == words.shape[1] else 2
        return _other_words(ask, own.movedim(time, 1), words[rows], kept, time)
    return None


def are_words(x: Any) -> bool:
    """Whether these are whole numbers (sequences, places)."""
    if not isinstance(x, Tensor) or x.is_floating_point() or x.dtype == torch.bool:
        return False
    return x.dim() == 2 and x.shape[1] > _FEWEST


def padding_of(words: Tensor) -> int | None:
    """The number that stands at one end of a quarter of the sequences, as often as they are short, and nowhere between."""
    for end in (words, words.flip(1)):
        number = int(end[:, -1].mode().values)
        is_word = end != number
        behind = is_word.flip(1).cumsum(dim=1).flip(1) == 0
        if float((~is_word[:, -1]).float().mean()) >= 0.25 and torch.equal(~is_word, behind) and bool(is_word.any(dim=1).all()):
            return number
    return None


def _exchanged(words: Tensor, where: Tensor) -> Tensor:
    """Other words at some places: those of the same sequence, by one further round."""
    pool = words[where].unique()
    if len(pool) < 2:
        return words
    at = torch.searchsorted(pool, words.clamp(min=int(pool[0]), max=int(pool[-1])))
    return torch.where(where, pool[(at + 1) % len(pool)], words)


def _last_word(ask: Any, own: Tensor, words: Tensor, kept: Tensor) -> str | None:
    places = torch.arange(words.shape[1], device=words.device)
    last = (kept * (places + 1)).amax(dim=1, keepdim=True) - 1
    changed = _exchanged(words, kept & (places == last))
    if torch.equal(changed, words):  # a mark of the end, which is the same of all
        return None
    others, ended = ask(_exchanged(words, kept)), ask(changed)
    if others is None or ended is None or torch.equal(others, own):
        return None
    return "last" if torch.equal(ended, own) else None


def _other_words(ask: Any, own: Tensor, words: Tensor, kept: Tensor, time: int) -> str | None:
    """Of the first and the last word of each sequence the answer, where all others are exchanged."""
    places = torch.arange(words.shape[1], device=words.device)
    ends = [kept.int().argmax(dim=1), (kept * (places + 1)).amax(dim=1) - 1]
    rows = torch.arange(len(words), device=words.device)
    pool = words[kept]
    full = torch.where(kept, words, pool[(places + 7 * rows[:, None]) % len(pool)])

    def changes(base: Tensor, before: Tensor, where: Tensor) -> bool | None:
        found = False
        for at in ends:
            after = ask(_exchanged(base, where & (places != at[:, None])))
            if after is None:
                return None
            there = (rows, at)
            found |= not torch.equal(after.movedim(time, 1)[there], before[there])
        return found

    if changes(words, own, kept) is not False:
        return None
    whole = ask(full)
    if whole is None:
        return None
    everywhere = torch.ones_like(kept)
    return "all" if changes(full, whole.movedim(time, 1), everywhere) or not bool(whole.isfinite().all()) else None
