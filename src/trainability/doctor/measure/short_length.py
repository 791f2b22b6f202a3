"""Lengths of data sets and loaders that are not those of what a pass reads; samplers with too few weights."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, WeightedRandomSampler

from trainability.doctor.batches import most_rows, tensors
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.readings import ShortLength, ShortPass

_FEWEST = 4  # batch size: with fewer examples, lengths are easily multiples of each other
_MOST_SECONDS, _MOST_BATCHES = 2.0, 200
_COUNTED = 0.1  # of a length, that the number of examples may differ from it, as by a last batch
_END = object()


def short_length(loader: Any) -> ShortLength | None:
    """Whether the data set's `len` is the number of its batches, or its sampler has too few weights.

    Args:
        loader: a torch DataLoader over a data set with indices. At most some twenty examples are read, under restored random
            numbers.

    Returns:
        The declared length, the number of valid indices, and the batch size between the two; for a sampler, the number of its
        weights, the length of the data set, and None. None if the data set raises at the index after its length, as it should,
        if it accepts any index, as with generated examples, or if no batch size explains the number.
    """
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset) or loader.batch_size is None:
        return None
    data, sampler = loader.dataset, loader.sampler
    if isinstance(sampler, WeightedRandomSampler):
        held, weights = len(data), len(sampler.weights)  # type: ignore[arg-type]
        return ShortLength(declared=weights, held=held, batch_size=None) if weights < held else None
    while hasattr(data, "indices") and isinstance(getattr(data, "dataset", None), Dataset):
        data = data.dataset  # type: ignore[attr-defined]
    with randomness_restored(), generators_restored(loader), contextlib.suppress(Exception):
        declared = len(data)  # type: ignore[arg-type]
        if declared < 2:
            return None
        answers = _answers(loader, data)
        if not answers(declared):
            return None
        sizes = {loader.batch_size, *(size for name, size in vars(data).items() if "batch" in name and type(size) is int)}
        for size in sorted(size for size in sizes if size >= _FEWEST):
            held = _num_answered(answers, declared, size)
            if held is not None and declared in (held // size, -(-held // size)):
                return ShortLength(declared=declared, held=held, batch_size=size)
    return None


def short_pass(loader: Any) -> ShortPass | None:
    """Whether a loader of the program's own ends a pass before half of its length, which is found by reading it.

    Args:
        loader: with a length, and iterators that each begin anew. 200 batches are read at most, for two seconds, under restored
            random numbers.

    Returns:
        None of a torch DataLoader, of lists, of a pass that takes longer, and where the length may be that of the examples.
    """
    if isinstance(loader, DataLoader | Sequence | Tensor) or not hasattr(loader, "__len__"):
        return None
    with randomness_restored(), generators_restored(loader), contextlib.suppress(Exception):
        declared, began = len(loader), time.monotonic()
        batches = iter(loader)
        if batches is loader:
            return None
        examples = 0
        for read in range(min(declared // 2, _MOST_BATCHES) + 1):
            batch = next(batches, _END)
            if batch is _END:
                is_short = 2 * read < declared and abs(examples - declared) > _COUNTED * declared
                return ShortPass(read=read, declared=declared) if is_short else None
            examples += most_rows(batch)
            if time.monotonic() - began > _MOST_SECONDS:
                return None
    return None


def _num_answered(answers: Callable[[int], bool], declared: int, size: int) -> int | None:
    """Number of valid indices from 0 on, if they end within that many batches plus one."""
    low, high = declared + 1, (declared + 1) * size  # the index before `low` is answered, `high` is not
    if answers(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if answers(middle) else (low, middle)
    return low


def _answers(loader: DataLoader, data: Any) -> Callable[[int], bool]:
    """Test whether an index has an example with the same parts as the first; a slice beyond the end is empty."""

    def parts(index: int) -> list[tuple[str, int]]:
        batch = [data[index]] if loader.collate_fn is None else loader.collate_fn([data[index]])
        return [(place, part.dim()) for place, part in tensors(batch) if part.numel()]

    first = parts(0)

    def is_answered(index: int) -> bool:
        try:
            return bool(first) and parts(index) == first
        except LookupError:
            return False

    return is_answered
