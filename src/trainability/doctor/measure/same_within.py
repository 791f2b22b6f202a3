"""Tensors that say nothing in a batch: one row for all of its examples, or a channel of one number in all batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.batches import tensors
from trainability.doctor.readings import SameWithin

_MOST_BATCHES, _FEWEST_BATCHES, _FEWEST_ROWS, _FEWEST_EXAMPLES = 8, 3, 8, 64
_MOST_CHANNELS = 32  # a longer dimension is time, words or pixels


def same_within(batch: Iterable[tuple[str, Tensor]], batches: Iterable[Any]) -> SameWithin | None:
    """Look for such a tensor in some batches of a loader.

    Args:
        batch: tensors of one batch by their place.
        batches: of the training loader.

    Returns:
        The first tensor with more than one number an example, of floats, that is one row in each batch and another row in
        another batch, beside a tensor whose rows differ; or else the first channel, along the last dimension or the second of
        three, that is one number in all batches, beside others that are not. None where fewer than three can be read.
    """
    given = {place: t for place, t in batch if t.is_floating_point() and t.dim() > 1 and len(t) >= _FEWEST_ROWS}
    rows = {place for place, t in given.items() if t[0].numel() > 1 and _is_one_row(t)}
    channels = {(place, dim) for place, t in given.items() if t.dim() == 3 for dim in (2, 1) if _constant_along(t, dim)}
    if len(rows) == len(given):
        rows = set()
    if not rows and not channels:
        return None
    seen: dict[str, list[Tensor]] = {place: [] for place in {*rows, *(place for place, _ in channels)}}
    for other in itertools.islice(batches, _MOST_BATCHES):
        for place, t in tensors(other):
            if place in seen:
                seen[place].append(t.detach().cpu())
    for place in sorted(rows):
        read = [t for t in seen[place] if len(t) > 1]
        if len(read) >= _FEWEST_BATCHES and all(map(_is_one_row, read)) and len({t[0].numpy().tobytes() for t in read}) > 1:
            return SameWithin(place=place, examples=sum(map(len, read)), batches=len(read))
    for place, dim in sorted(channels):
        read = [t for t in seen[place] if t.dim() == 3]
        if len(read) < _FEWEST_BATCHES or sum(map(len, read)) < _FEWEST_EXAMPLES:
            continue
        same = set.intersection(*(set(_constant_along(t, dim)) for t in read))
        if len({t.shape[dim] for t in read}) == 1 and same:
            index, value = min(same)
            return SameWithin(place=place, examples=sum(map(len, read)), batches=len(read), channel=index, value=value)
    return None


def _is_one_row(tensor: Tensor) -> bool:
    return bool((tensor == tensor[:1]).all())


def _constant_along(tensor: Tensor, dim: int) -> list[tuple[int, float]]:
    """Channels of one number, with it; [] where a dimension is no channels, or no channel or each one is such.

    Some letters or keys may be absent: where all numbers are 0 or 1, a channel of zeros does not count.
    """
    if not 1 < tensor.shape[dim] <= _MOST_CHANNELS or tensor.numel() // tensor.shape[dim] < 2:
        return []
    flat = tensor.detach().float().movedim(dim, 0).flatten(1)
    low, high = flat.aminmax(dim=1)
    found = torch.nonzero(low == high)[:, 0].tolist()
    if len(found) == len(flat):
        return []
    are_marks = bool(found) and bool(((flat == 0) | (flat == 1)).all())
    return [(index, value) for index in found if (value := float(low[index])) or not are_marks]
