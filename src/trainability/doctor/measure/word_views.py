"""Views of sequences of whole numbers, for relations that no single place shows: words counted, repeated, equal, summed."""

import math

import torch
from torch import Tensor, nn

_MOST_COLUMNS = 256
_MOST_PLACES = 4096  # of one-hot words: places times words
_MOST_COMPARED = 32  # places of which each pair is compared
_MODULI = (2, 3, 5, 10)
_MOST_KINDS, _FEWEST_LETTERS = 256, 5  # numbers that tokens take; places of a row
_EVEN = 0.95  # entropy of the tokens at a place over that of even draws; of words it is far below
_MOSTLY = 0.75  # of the places that are not constant


def in_a_row(words: Tensor) -> Tensor:
    """Rows of whole numbers: of several sequences beside each other one after the other, each with numbers of its own.

    Args:
        words: (examples, places) or (examples, sequences, places) integers.
    """
    whole = words.long() - int(words.min())
    if whole.dim() == 3:
        whole = whole + torch.arange(whole.shape[1])[None, :, None] * (int(whole.max()) + 1)
    return whole.flatten(1)


def views_of_words(words: Tensor) -> list[Tensor]:
    """Counts of the words; the words as numbers; which word is where, of short rows."""
    whole = in_a_row(words)
    buckets = whole.remainder(_MOST_COLUMNS)
    counts = torch.zeros(len(words), _MOST_COLUMNS).scatter_add_(1, buckets, torch.ones_like(buckets, dtype=torch.float))
    views = [torch.cat([counts, counts.square().sum(dim=1, keepdim=True)], dim=1), narrowed(whole.float())]
    kinds = int(whole.max()) + 1
    if kinds * whole.shape[1] <= _MOST_PLACES:
        views.append(nn.functional.one_hot(whole, kinds).float().flatten(1))
    return views


def columns_of_words(words: Tensor) -> Tensor:
    """How often each place's word occurs in its row, which places hold the same, and remainders of the row's sum."""
    whole = in_a_row(words)[:, :_MOST_COLUMNS]
    sums = words.long().flatten(1).sum(dim=1)
    remainders = [nn.functional.one_hot(sums.remainder(n), n) for n in _MODULI]
    if whole.shape[1] <= _MOST_COMPARED:
        equal = whole[:, :, None] == whole[:, None, :]
        first, second = torch.triu_indices(whole.shape[1], whole.shape[1], offset=1)
        found = [equal.sum(dim=2), equal[:, first, second]]
    else:
        found = [(whole == whole[:, [place]]).sum(dim=1, keepdim=True) for place in (0, -1)]
    return torch.cat([part.float() for part in (*found, *remainders)], dim=1)


def holds_target(words: Tensor, targets: Tensor) -> Tensor | None:
    """How often each example's row holds each example's target, (examples, examples); None if targets are no whole numbers."""
    if targets.is_floating_point() or targets.numel() != len(targets):
        return None
    rows, asked = words.long().flatten(1), targets.long().flatten()
    kinds, place = asked.unique(return_inverse=True)
    counts = torch.stack([(rows == kind).sum(dim=1) for kind in kinds[:_MOST_COLUMNS]], dim=1).float()
    return counts[:, place.clamp(max=counts.shape[1] - 1)]


def are_drawn_evenly(inputs: Tensor) -> bool:
    """Whether inputs are rows of tokens that were drawn, each as often as another: bits, digits, keys, and no text.

    Args:
        inputs: (examples, ...), of any type.
    """
    if inputs.is_complex() or inputs[0].numel() < _FEWEST_LETTERS:
        return False
    rows = inputs.flatten(1).double()
    if not bool((rows == rows.round()).all()):
        return False
    shares = []
    for column in rows.T[:_MOST_COLUMNS]:
        counts = column.unique(return_counts=True)[1].double()
        if 1 < len(counts) <= _MOST_KINDS:
            share = counts / counts.sum()
            # Of few draws of many kinds the entropy is below that of even draws, by (kinds - 1) / 2 over the draws.
            entropy = -float((share * share.log()).sum()) + (len(counts) - 1) / (2 * len(column))
            shares.append(entropy / math.log(len(counts)))
        elif len(counts) > _MOST_KINDS:
            return False
    return bool(shares) and sum(share > _EVEN for share in shares) >= _MOSTLY * len(shares)


def narrowed(flat: Tensor, columns: int = _MOST_COLUMNS) -> Tensor:
    """At most so many columns, by averages of neighbouring ones."""
    return flat if flat.shape[1] <= columns else nn.functional.adaptive_avg_pool1d(flat[:, None], columns)[:, 0]
