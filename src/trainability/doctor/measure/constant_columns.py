"""A column of the batch that goes into a layer of its own, such as a time or a condition, and is one number in all batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from trainability.doctor.batches import tensors

_MOST_BATCHES, _FEWEST_BATCHES, _FEWEST_EXAMPLES = 8, 2, 64


def constant_columns(
    columns: Mapping[str, int], batch: Iterable[tuple[str, Tensor]], batches: Iterable[Any]
) -> tuple[str, ...]:
    """Layers whose only column is one number for all examples, that of a column of the data.

    Args:
        columns: layers that were given one number for each example, the same for all, and how many examples.
        batch: its tensors by place.
        batches: of the training loader. One batch says little: it may be of one task, and each of its examples of another.

    Returns:
        The layers; () where a column differs from batch to batch, or too few batches can be read.
    """
    rows = set(columns.values())
    alike = {place for place, t in batch if t.numel() in rows and len(t) == t.numel() and _is_one_number(t)}
    if not alike:
        return ()
    seen: dict[str, list[Tensor]] = {place: [] for place in alike}
    for other in itertools.islice(batches, _MOST_BATCHES):
        for place, t in tensors(other):
            if place in seen:
                seen[place].append(t.detach().flatten())
    constant = [place for place, read in seen.items() if len(read) >= _FEWEST_BATCHES and _are_one_number(read)]
    return tuple(columns) if constant and len(constant) == len(alike) else ()


def _are_one_number(read: list[Tensor]) -> bool:
    return sum(map(len, read)) >= _FEWEST_EXAMPLES and all(map(_is_one_number, read)) and len({t[0].item() for t in read}) == 1


def _is_one_number(tensor: Tensor) -> bool:
    return tensor.numel() > 0 and bool((tensor == tensor.flatten()[0]).all())
