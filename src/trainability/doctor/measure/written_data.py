"""Data that reading changes: a stored example that each reading writes to, one tensor that stands for every example."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, IterableDataset, Subset

from trainability.doctor.batches import tensors
from trainability.doctor.facts import Facts
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.readings import Overwritten

_MOST = 16  # examples
_READINGS = 4
_FEWEST_VALUES, _MOST_VALUES = 8, 1 << 24  # of one stored example; of all that are kept meanwhile
_FEWEST_CHANGED = 2
_FOLLOWS = 0.3  # correlation of what was written there with what a reading leaves
_FEWEST_FOLLOWED = 64  # values that this is told by
_SAME = 0.999  # correlation of what a reading returns with what it left there
_ONE_VALUE = 0.75  # of the values that were changed, those that became one and the same
_DEPTH = 3

Rows = dict[str, Tensor]


def overwritten(loader: Any) -> Overwritten | None:
    """Read the same examples several times, and look whether that changes what is stored, or what was returned before.

    What the data set stores is put back afterwards, and random state.

    Args:
        loader: a torch DataLoader over a data set with indices.

    Returns:
        What is written to. Of "stored", each of two readings changes what the data set holds of an example, not only in its
        order; what is returned is what then stands there; other values put there come back at the next reading (a buffer that
        is filled anew forgets them); and what stands beside it in the batch, as a label, stays as it is, or most of what
        changes becomes one value, as under a mask: a state that goes on from reading to reading does neither. None elsewhere,
        and where worker processes read copies that end with each pass.
    """
    with randomness_restored(), generators_restored(loader), torch.no_grad(), contextlib.suppress(Exception):
        if (kept := stored_in(loader)) is None:
            return None
        try:
            found = _shared(loader, kept.indices)
            keeps_its_own = not loader.num_workers or loader.persistent_workers  # data of its own from pass to pass
            return found or (_written(loader, kept) if keeps_its_own else None)
        finally:
            kept.put_back()
    return None


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What a data set stores of some examples.

    Attributes:
        indices: of the examples.
        rows: of each, by place; the data set's own memory.
        before: copies of them.
    """

    indices: list[int]
    rows: list[Rows]
    before: list[Rows]

    def put_back(self) -> bool:
        """Write the copies over what stands there now. Returns whether that was anything else."""
        has_changed = False
        for rows, own in zip(self.rows, self.before, strict=True):
            for place, row in rows.items():
                has_changed |= not torch.equal(row.nan_to_num(), own[place].nan_to_num())
                row.copy_(own[place])
        return has_changed


def stored_in(loader: Any) -> Stored | None:
    """Copy what a data set stores of some examples, without reading them.

    Args:
        loader: a torch DataLoader over a data set with indices.

    Returns:
        The copies; None of another loader.
    """
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        return None
    size = len(loader.dataset)  # type: ignore[arg-type]
    indices = sorted({size * k // _MOST for k in range(_MOST)})
    rows = [dict(_rows(loader.dataset, i)) for i in indices]
    if sum(t.numel() for each in rows for t in each.values()) > _MOST_VALUES:
        indices, rows = indices[:2], rows[:2]
    return Stored(indices=indices, rows=rows, before=[_copied(each) for each in rows])


def with_overwritten(facts: Facts | None, found: Overwritten | None) -> Facts | None:
    """Add to certain facts what is written to as it is read."""
    if found is None:
        return facts
    facts = facts or Facts()
    return replace(facts, readings=replace(facts.readings, overwritten=found))


def _copied(rows: Rows) -> Rows:
    return {place: row.clone() for place, row in rows.items()}


# ------------------------------------------------------------------------------------------------- one for all examples


def _shared(loader: DataLoader, indices: list[int]) -> Overwritten | None:
    """Items that are the same memory, which shows the last one that was read."""
    if (loader.batch_size or 2) < 2 or len(indices) < 2 or hasattr(loader.dataset, "__getitems__"):
        return None
    items, first = [], []
    for i in indices:
        items.append(dict(_leaves(loader.dataset[i])))
        first.append(_copied(items[-1]))
    for place, last in items[-1].items():
        if last.numel() < 2 or any(place not in item or item[place].shape != last.shape for item in items):
            continue
        if any(item[place].data_ptr() != last.data_ptr() for item in items):
            continue
        changed = sum(not torch.equal(own[place], last) for own in first)
        if changed >= len(items) - 1:
            return Overwritten(kind="shared", place=place, num_examples=len(items), num_changed=changed)
    return None


def _leaves(item: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Tensors and arrays of an example by their place, each the same memory."""
    if isinstance(item, dict):
        for key, part in item.items():
            yield from _leaves(part, f"{path}[{key!r}]")
    elif isinstance(item, tuple | list):
        for k, part in enumerate(item):
            yield from _leaves(part, f"{path}[{k}]")
    elif (tensor := _as_tensor(item)) is not None:
        yield path, tensor


def _as_tensor(value: Any) -> Tensor | None:
    """A tensor of the same memory that can be written to; None of anything else."""
    if isinstance(value, Tensor):
        return value.detach() if value.layout == torch.strided and value.device.type == "cpu" else None
    flags = getattr(value, "flags", None)  # of NumPy's arrays, which need not be installed
    if flags is None or not hasattr(value, "__array__") or not getattr(flags, "writeable", False) or not value.ndim:
        return None
    with contextlib.suppress(TypeError, ValueError):  # words, dates, negative strides
        return torch.from_numpy(value)
    return None


# ------------------------------------------------------------------------------------------------------ what is stored


def _rows(holder: Any, index: int, depth: int = 0, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """What a data set stores of one example: its row of each tensor, array or list of as many, by name."""
    if isinstance(holder, Subset):
        yield from _rows(holder.dataset, holder.indices[index], depth, name)
    elif isinstance(holder, ConcatDataset):
        part = next(k for k, end in enumerate(holder.cumulative_sizes) if index < end)
        begin = holder.cumulative_sizes[part - 1] if part else 0
        yield from _rows(holder.datasets[part], index - begin, depth, name)
    elif depth < _DEPTH and (size := _length(holder)) is not None:
        for own, value in _parts(holder):
            place = own if not name or name.endswith(own) else f"{name}.{own}"
            yield from _rows_of(value, index, size, depth, place)


def _length(holder: Any) -> int | None:
    with contextlib.suppress(Exception):
        return len(holder)
    return None


def _parts(holder: Any) -> Iterator[tuple[str, Any]]:
    for name, value in getattr(holder, "__dict__", {}).items():
        if isinstance(value, tuple | list) and len(value) <= 8:  # such as the tensors of a TensorDataset
            yield from ((f"{name}[{k}]", part) for k, part in enumerate(value))
        elif isinstance(value, dict) and len(value) <= 8:
            yield from ((f"{name}[{key!r}]", part) for key, part in value.items())
        yield name, value


def _rows_of(value: Any, index: int, size: int, depth: int, name: str) -> Iterator[tuple[str, Tensor]]:
    if _length(value) != size or isinstance(value, str | bytes):
        return
    if isinstance(value, tuple | list | Tensor) or hasattr(value, "__array__"):
        yield from ((name + path, row) for path, row in _leaves(value[index]) if row.numel() >= _FEWEST_VALUES)
    elif hasattr(value, "__getitem__") and not isinstance(value, dict):
        yield from _rows(value, index, depth + 1, name)


def _written(loader: DataLoader, kept: Stored) -> Overwritten | None:
    indices, stored, before = kept.indices, kept.rows, kept.before
    if not any(stored):
        return None
    states, batches = [before], []
    for _ in range(_READINGS):
        batches.append(_fetched(loader, indices))
        states.append([_copied(rows) for rows in stored])
        if len(states) == 3 and not _changed_places(states):  # nothing that two readings change
            return None
    for place, changed in _changed_places(states).items():
        if len(changed) < min(_FEWEST_CHANGED, len(indices)):
            continue
        returned = _returned(batches, states, place, changed)
        if not returned or not _follows(loader, indices, stored, place, changed):
            continue
        if not _stands_still(batches, returned, len(indices)) and not _becomes_one(states, place, changed):
            continue
        share = sum(float((states[-1][k][place] != before[k][place]).float().mean()) for k in changed) / len(changed)
        return Overwritten(
            kind="stored", place=place, num_examples=len(indices), num_changed=len(changed), share=min(share, 1.0)
        )
    return None


def _fetched(loader: DataLoader, indices: list[int]) -> Rows:
    """What the loader would make of these examples, and the examples as they are behind `collate_fn`, row by row."""
    items = [loader.dataset[i] for i in indices]
    batch = loader.collate_fn(items) if loader.collate_fn is not None else items
    found = {place: t.detach().cpu().clone() for place, t in tensors(batch) if t.dim() and len(t) == len(indices)}
    each = [dict(_leaves(item)) for item in items]
    for place, first in each[0].items():
        rows = [parts[place] for parts in each if place in parts]
        if len(rows) == len(items) and all(row.shape == first.shape for row in rows):
            found[f"item{place}"] = torch.stack(rows)
    return found


def _changed_places(states: list[list[Rows]]) -> dict[str, list[int]]:
    """By place, the examples that two readings changed, each, and of which other values stand there than before."""
    found: dict[str, list[int]] = {}
    for k, rows in enumerate(states[0]):
        for place, own in rows.items():
            times = sum(not torch.equal(a[k][place], b[k][place]) for a, b in itertools.pairwise(states))
            last = states[-1][k][place]
            if times >= 2 and not torch.equal(own.flatten().sort().values, last.flatten().sort().values):
                found.setdefault(place, []).append(k)
    return found


def _returned(batches: list[Rows], states: list[list[Rows]], place: str, changed: list[int]) -> list[str]:
    """Places of the batch that hold what stands there after each reading."""
    names = set.intersection(*(set(batch) for batch in batches))
    return [
        name
        for name in sorted(names)
        if all(_is_same(b[name][k], s[k][place]) for b, s in zip(batches, states[1:], strict=True) for k in changed)
    ]


def _is_same(returned: Tensor, kept: Tensor) -> bool:
    """Whether one is the other, up to a scale and a level for each channel, first or last."""
    if returned.numel() != kept.numel():
        return False
    a, b = returned.double(), kept.double()
    if torch.equal(a.flatten(), b.flatten()):
        return True
    views = [(a.flatten()[None], b.flatten()[None])]
    if a.dim() > 1:
        views.append((a.flatten(1), b.flatten(1) if b.shape[0] == a.shape[0] else b.flatten(0, -2).T))
    return any(x.shape == y.shape and _are_lines(x, y) for x, y in views)


def _are_lines(x: Tensor, y: Tensor) -> bool:
    x, y = x - x.mean(dim=1, keepdim=True), y - y.mean(dim=1, keepdim=True)
    sizes = x.norm(dim=1) * y.norm(dim=1)
    varied = sizes > 0
    return bool(varied.any()) and bool(((x * y).sum(dim=1)[varied] >= _SAME * sizes[varied]).all())


def _follows(loader: DataLoader, indices: list[int], stored: list[Rows], place: str, changed: list[int]) -> bool:
    """Whether a reading keeps some of what stands there: the same values are put there in another order, and read."""
    generator, written = torch.Generator().manual_seed(0), {}
    for k in changed:
        row = stored[k][place]
        row.copy_(row.flatten()[torch.randperm(row.numel(), generator=generator)].reshape(row.shape))
        written[k] = row.clone()
    _fetched(loader, indices)
    pairs = [(written[k].flatten().double(), stored[k][place].flatten().double()) for k in changed]
    pairs = [(a - a.mean(), b - b.mean()) for a, b in pairs]
    pairs = [(a / a.norm(), b / b.norm(), len(a)) for a, b in pairs if float(a.norm()) > 0 and float(b.norm()) > 0]
    count = sum(n for *_, n in pairs)
    return count >= _FEWEST_FOLLOWED and sum(float(a @ b) * n for a, b, n in pairs) >= _FOLLOWS * count


def _stands_still(batches: list[Rows], returned: list[str], count: int) -> bool:
    """Whether something else in the batch, of which not every example has the same, stays as it is."""
    first, *others = batches
    for place, part in first.items():
        if place in returned or any(place not in b or not torch.equal(b[place], part) for b in others):
            continue
        if count > 1 and bool((part != part[:1]).any()):
            return True
    return False


def _becomes_one(states: list[list[Rows]], place: str, changed: list[int]) -> bool:
    """Whether most of the values that change become one and the same, and were several before."""
    old = torch.cat([states[0][k][place].flatten() for k in changed])
    new = torch.cat([states[-1][k][place].flatten() for k in changed])
    old, new = old[old != new], new[old != new]
    if not len(new):
        return False
    most = [float(values.unique(return_counts=True)[1].max()) / len(values) for values in (new, old)]
    return most[0] >= _ONE_VALUE > most[1]
