"""Words that an answer does not go by: the last of a sequence, or all but its own where only padding is attended to."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainability.doctor.measure.calls import Call
from trainability.doctor.measure.forward_pass import callable_model
from trainability.doctor.measure.influence import answer
from trainability.doctor.measure.padding_number import are_words, padding_of

_ROWS, _FEWEST = 12, 4
_MORE = 2  # words that a sequence has beside those that are asked about


def unread_words(call: Call) -> str | None:
    """Exchange words of padded sequences for others, and see whether any answer changes.

    Args:
        call: of a model whose first input of whole numbers (batch, places) are words; what else it takes stays as it is. It
            runs in eval mode and without gradients; the caller puts modes and buffers back.

    Returns:
        "last" where an answer for each sequence never goes by its last word, though it does by some; "all" where no answer goes
        by any word but its own, or one that all sequences have at a place, while the sequence has padding, and does (or is not
        finite) once that is replaced by words;
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
        return "all" if _reads_none(ask, own, words[rows], kept) else _last_word(ask, own, words[rows], kept)
    if own.dim() == 3 and words.shape[1] in own.shape[1:]:
        time = 1 if own.shape[1] == words.shape[1] else 2
        return _other_words(ask, own.movedim(time, 1), words[rows], kept, time)
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


def _reads_none(ask: Any, own: Tensor, words: Tensor, kept: Tensor) -> bool:
    """Whether an answer for each sequence goes by no word that differs between sequences, and would without the padding."""
    differs = (words != words[:1]).any(dim=0).expand_as(words)
    changed = _exchanged(words, kept & differs)
    if torch.equal(changed, words) or (now := ask(changed)) is None or not torch.equal(now, own):
        return False
    full = _full(words, kept)
    whole, moved = ask(full), ask(_exchanged(full, differs))
    return whole is not None and moved is not None and not torch.equal(whole, moved)


def _full(words: Tensor, kept: Tensor) -> Tensor:
    """The same sequences with words in the place of their padding."""
    places, rows = (torch.arange(n, device=words.device) for n in (words.shape[1], len(words)))
    pool = words[kept]
    return torch.where(kept, words, pool[(places + 7 * rows[:, None]) % len(pool)])


def _other_words(ask: Any, own: Tensor, words: Tensor, kept: Tensor, time: int) -> str | None:
    """Of the first and the last word of each sequence the answer, where all others are exchanged."""
    places = torch.arange(words.shape[1], device=words.device)
    ends = [kept.int().argmax(dim=1), (kept * (places + 1)).amax(dim=1) - 1]
    rows = torch.arange(len(words), device=words.device)
    full = _full(words, kept)

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
