"""Batches that a loader slices out of its data at the wrong places, so that they slide over the first rows of them."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from types import GeneratorType
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader

from trainability.doctor.batches import batch_size, tensors
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.measure.row_hashes import row_hashes
from trainability.doctor.readings import Sliding

_FEWEST_ROWS, _FEWEST_BATCHES = 4, 5
_FIRST = 16  # batches, of which some share rows, or no others are read
_SECONDS, _MOST_BATCHES, _MOST_BYTES = 2.0, 2000, 2**29
_DISTINCT, _SAME_NEXT = 0.9, 0.95  # of the rows of a batch, and of all batches; of the rows that come again
_MOST_SHOWN, _SHORT = 0.5, 0.25  # of the rows; of a slice


def sliding(loader: Any) -> Sliding | None:
    """Whether a pass has as many rows as the data, in slices that overlap, and shows half of the data at most.

    A slice `x[i : i + size]` for i = 0, 1, 2, ... in place of `i * size` does so. That batches are slices of one order shows in
    the rows that come again: the same row follows on each. The data are found in what the loader and its generator hold.

    Args:
        loader: whose iterators each begin anew: a loader of the program's own, a list of batches, or a torch DataLoader with a
            batch sampler of the program's own or none. Its first batches are read, and one pass where these share rows, for two
            seconds at most, under restored random numbers.

    Returns:
        None where rows do not come again in slices, where the pass shows more of the data, and where it has more rows than
        these, or fewer, as windows of a series have.
    """
    asked = _readable(loader)
    if asked is None:
        return None
    with randomness_restored(), generators_restored(loader):
        source = iter(asked)
        if source is asked:
            return None
        read = _read(source)
        if read is None:
            return None
        batches, sizes = read
    rows, each = sum(len(batch) for batch in batches), len(batches[0])
    shown = len({row for batch in batches for row in batch})
    fitting = [size for size in sizes | _sizes(loader) if abs(rows - size) < each and shown <= _MOST_SHOWN * size]
    if not fitting or not _are_slices(batches) or not _creep(batches, shown):
        return None
    return Sliding(batches=len(batches), batch_size=each, shown=shown, held=max(fitting))


def _readable(loader: Any) -> Iterable[Any] | None:
    """What is read in its place; None of loaders that cannot slide, or start processes."""
    if isinstance(loader, Tensor | Iterator):
        return None
    if not isinstance(loader, DataLoader):
        return loader if hasattr(loader, "__iter__") else None
    if loader.batch_sampler is not None and type(loader.batch_sampler) is not BatchSampler:
        return DataLoader(loader.dataset, batch_sampler=loader.batch_sampler, collate_fn=loader.collate_fn)
    return loader if loader.batch_sampler is None and loader.num_workers == 0 else None


def _read(source: Iterator[Any]) -> tuple[list[list[int]], set[int]] | None:
    """Hashes of the rows of each batch of a pass, and numbers of rows of what the batches are taken from."""
    began, found, sizes, met, again, size = time.perf_counter(), list[list[int]](), set[int](), set[int](), False, 0
    for batch in source:
        rows = batch_size(batch)
        if rows is None or rows < (_FEWEST_ROWS if not found else 1) or (found and rows > len(found[0])):
            return None
        size += sum(t.numel() * t.element_size() for _, t in tensors(batch))
        found.append(_hashes(batch))
        again = again or not met.isdisjoint(found[-1])
        met.update(found[-1])
        if len(found) == 1:
            sizes = _sizes(source) | {_stored(t) for _, t in tensors(batch)}
        elif len(found) == _FIRST and not again:
            return None
        if time.perf_counter() - began > _SECONDS or len(found) > _MOST_BATCHES or size > _MOST_BYTES:
            return None
    return (found, sizes) if again and len(found) >= _FEWEST_BATCHES else None


def _hashes(batch: Any) -> list[int]:
    """One number for each row of all tensors of a batch."""
    parts = list[Tensor]()
    for _, tensor in tensors(batch):
        plain = tensor.detach().cpu().resolve_conj()
        plain = torch.view_as_real(plain) if plain.is_complex() else plain
        plain = (plain if plain.dtype == torch.float32 else plain.double()).reshape(len(plain), -1)
        parts.append(row_hashes(plain.contiguous().view(torch.float32)))
    mixed = torch.stack(parts, dim=1)
    return row_hashes(mixed.view(torch.float32)).tolist()


def _are_slices(batches: list[list[int]]) -> bool:
    """Whether batches differ, rows of a batch do, and a row that comes again has the same row behind it."""
    if any(len(set(batch)) < _DISTINCT * len(batch) for batch in batches):
        return False
    if len({tuple(batch) for batch in batches}) < _DISTINCT * len(batches):
        return False
    following, same, others = dict[int, int](), 0, 0
    for batch in batches:
        for row, behind in itertools.pairwise(batch):
            known = following.setdefault(row, behind)
            same, others = same + (known == behind), others + (known != behind)
    return same >= _SAME_NEXT * (same + others)


def _creep(batches: list[list[int]], shown: int) -> bool:
    """Whether slices move on by a quarter of their size at most, and the ends of what they show come far less often.

    Rows that are read in a circle all come equally often; half-overlapping windows move on by half of their size.
    """
    shift = (shown - len(batches[0])) / (len(batches) - 1)
    counts = Counter(itertools.chain.from_iterable(batches)).values()
    return shift <= _SHORT * len(batches[0]) and min(counts) <= _SHORT * max(counts)


def _stored(tensor: Tensor) -> int:
    """Rows of what a tensor is a view of."""
    numbers = tensor[:1].numel() * tensor.element_size()
    return tensor.untyped_storage().nbytes() // numbers if numbers else 0


def _sizes(holder: Any) -> set[int]:
    """Numbers of rows of the tables that an object holds, or a generator works on."""
    held = list[Any]()
    if isinstance(holder, GeneratorType):
        frame = holder.gi_frame
        if frame is not None:
            held += frame.f_locals.values()
            held += [frame.f_globals[name] for name in frame.f_code.co_names if name in frame.f_globals]
    else:
        held += getattr(holder, "__dict__", {}).values()
    held += [part for each in held for part in getattr(each, "__dict__", {}).values() if not isinstance(each, type)]
    held += [part for each in held if isinstance(each, tuple | dict) for part in _parts(each)]
    return {size for size in map(_length, held) if size}


def _parts(held: tuple | dict) -> list[Any]:
    return list(held.values() if isinstance(held, dict) else held)[:16]


def _length(table: Any) -> int:
    """Rows of an array, a tensor or a list; 0 of anything else."""
    if isinstance(table, list):
        return len(table)
    shape = getattr(table, "shape", None) if hasattr(type(table), "shape") else None  # a module's may be made when asked for
    return int(shape[0]) if isinstance(shape, tuple) and shape and isinstance(shape[0], int) else 0
