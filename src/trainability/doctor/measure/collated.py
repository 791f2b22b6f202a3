"""Whether `collate_fn` leaves each example's parts side by side: its batch is compared with the examples that it was given."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, default_collate

from trainability.doctor.batches import tensors
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.pair_facts import Misaligned

_FEWEST, _MOST = 16, 64  # examples
_MOST_VALUES = 4096  # of an example that are compared
_APART = 0.25  # share of the rows that stand beside another's part
_BY_CHANCE = 3.5  # standard deviations: a batch whose targets are exchanged on purpose keeps many of them

Whose = list[set[int]]


def separated(loader: Any) -> Misaligned | None:
    """Hand `collate_fn` some examples of the data set, and find each row of what it returns among them, by its values.

    Args:
        loader: a torch DataLoader over a data set with indices, with a `collate_fn` of its own.

    Returns:
        Two tensors of the batch that hold parts of the same examples, in orders that have nothing to do with each other; None
        where each stands beside its own, for another loader, and where rows are not those of the examples, as augmented ones
        are not. Padding behind an example's values is left out.
    """
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        return None
    if loader.collate_fn is None or loader.collate_fn is default_collate:
        return None
    count = min(_MOST, loader.batch_size or _MOST, len(loader.dataset))  # type: ignore[arg-type]
    if count < _FEWEST:
        return None
    parts: dict[str, list[Tensor]] = {}
    batch: Any = None
    with randomness_restored(), generators_restored(loader), contextlib.suppress(Exception):  # one that takes no such list
        examples = [loader.dataset[k * len(loader.dataset) // count] for k in range(count)]  # type: ignore[arg-type]
        parts = _parts(examples)
        batch = loader.collate_fn(examples)
    rows = {name: t.detach().cpu() for name, t in tensors(batch) if t.dim() and len(t) == count}
    found = {name: {part: w for part, values in parts.items() if (w := _whose(t, values))} for name, t in rows.items()}
    for given, own in found.items():
        orders = {part: _order(whose) for part, whose in own.items() if _order(whose)}
        apart = {name: _is_apart(orders, held) for name, held in found.items() if name != given}
        for target in (name for name, is_apart in apart.items() if is_apart):
            # A batch may hold a part twice, once in another order, as a mixture's or a contrast's second half.
            if all(apart[n] for n, held in found.items() if n != given and held.keys() & found[target].keys()):
                order, whose = next((o, w) for p, o in orders.items() for q, w in found[target].items() if p != q)
                return _told(given, target, order, whose)
    return None


def _order(whose: Whose) -> list[int]:
    """The example of each row; none where several have the same values."""
    return [next(iter(candidates)) for candidates in whose] if all(len(candidates) == 1 for candidates in whose) else []


def _is_apart(orders: dict[str, list[int]], held: dict[str, Whose]) -> bool:
    """Whether two tensors hold parts of examples, and none of what they may be brings these together."""
    pairs = [(order, whose) for part, order in orders.items() for other, whose in held.items() if part != other]
    return bool(pairs) and all(_unrelated(order, whose) for order, whose in pairs)


def _parts(examples: list[Any]) -> dict[str, list[Tensor]]:
    """What every example holds, by its place: tensors, arrays and numbers."""
    each = [dict(_leaves(example)) for example in examples]
    return {name: [parts[name] for parts in each] for name in each[0] if all(name in parts for parts in each)}


def _leaves(example: Any, path: str = "") -> list[tuple[str, Tensor]]:
    if isinstance(example, dict):
        return [leaf for key, part in example.items() for leaf in _leaves(part, f"{path}[{key!r}]")]
    if isinstance(example, tuple | list) and not (example and all(isinstance(x, int | float) for x in example)):
        return [leaf for k, part in enumerate(example) for leaf in _leaves(part, f"{path}[{k}]")]
    if isinstance(example, Tensor):
        return [(path, example.detach().cpu())]
    with contextlib.suppress(TypeError, ValueError, RuntimeError):  # arrays of words, images of other libraries
        if isinstance(example, int | float | list | tuple) or hasattr(example, "__array__"):
            return [(path, torch.as_tensor(example))]
    return []


def _whose(rows: Tensor, values: list[Tensor]) -> Whose | None:
    """The examples whose values each row may hold; None where a row holds those of none, or they are not the same examples."""
    flat, each = rows.reshape(len(rows), -1), [value.reshape(-1) for value in values]
    if flat.shape[1] > _MOST_VALUES and {value.numel() for value in each} == {flat.shape[1]}:
        places = torch.linspace(0, flat.shape[1] - 1, _MOST_VALUES).long()
        flat, each = flat[:, places], [value[places] for value in each]
    apart = torch.stack([_differs(flat.double(), value.double()) for value in each], dim=1)
    if bool(apart.all(dim=1).any()):
        return None
    # Rows and examples with like values come in groups: each group must be as large on both sides.
    if not torch.equal((~apart).sum(dim=1).sort().values, (~apart).sum(dim=0).sort().values):
        return None
    return [set((~row).nonzero().flatten().tolist()) for row in apart]


def _differs(rows: Tensor, value: Tensor) -> Tensor:
    """Of each row, whether it is anything but the value, with one number behind it."""
    width = value.numel()
    if not 0 < width <= rows.shape[1]:
        return torch.ones(len(rows), dtype=torch.bool)
    padding = rows[:, width:]
    filled = (padding != padding[:, :1]).any(dim=1) if padding.shape[1] else torch.zeros(len(rows), dtype=torch.bool)
    return (rows[:, :width] != value).any(dim=1) | filled


def _unrelated(order: list[int], held: Whose) -> bool:
    """Whether as few rows as by chance hold a part of the example that the other tensor has there."""
    count = len(order)
    right = sum(example in candidates for example, candidates in zip(order, held, strict=True))
    chance = sum(map(len, held)) / count**2
    spread = math.sqrt(count * chance * (1 - chance))
    return count - right >= _APART * count and right <= count * chance + _BY_CHANCE * spread


def _told(given: str, target: str, order: list[int], held: Whose) -> Misaligned:
    wrong = [row for row, candidates in enumerate(held) if order[row] not in candidates]
    row = wrong[0]
    return Misaligned(
        given=given,
        target=target,
        num_wrong=len(wrong),
        num_asked=len(order),
        row=row,
        made=order[row],
        held=min(held[row]),
    )
