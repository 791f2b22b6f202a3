"""Two tables of embeddings that are looked up by the same column of the batch, beside another that nothing uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.instead import exchanged
from trainability.doctor.measure.loss_number import seeded_loss
from trainability.doctor.readings import GivenTwice

_FEWEST_ROWS, _FEWEST_VALUES, _MOST_COLUMNS = 8, 4, 8

Forward = Callable[[Any, Any], Tensor]


class _Column(NamedTuple):
    """Whole numbers, one for each example: their place in the batch, and the batch with these in another order."""

    name: str
    values: Tensor
    mixed: Any


class _Pass(NamedTuple):
    loss: float
    looked_up: dict[str, Tensor]  # what each table was last given, in one row


def same_words(model: nn.Module, batch: Any, forward: Forward) -> GivenTwice | None:
    """Find two tables of equal width that are given one column, while the loss goes by no value of another that one could take.

    Args:
        model: runs as it is.
        batch: of any structure; a column is a tensor of whole numbers, (examples,), or one of (examples, columns).
        forward: of (model, batch), the loss.

    Returns:
        None where there are none, and where the same step does not give the same loss again.
    """
    tables = {name: m for name, m in model.named_modules() if isinstance(m, nn.Embedding)}
    columns = _columns(batch) if len(tables) > 1 else []
    if len(columns) < 2:
        return None
    own = _passed(model, batch, forward, tables)
    if own.loss != seeded_loss(model, batch, forward):
        return None
    if _have_pairs(own, tables, columns):
        return None
    passes = {column.name: _passed(model, column.mixed, forward, tables) for column in columns}
    for column in columns:
        asked = [name for name in tables if name in own.looked_up and _equal(own.looked_up[name], column.values)]
        moved = passes[column.name].looked_up
        pairs = [
            (first, second)
            for i, first in enumerate(asked)
            for second in asked[i + 1 :]
            if tables[first].embedding_dim == tables[second].embedding_dim
            and all(name in moved and not _equal(moved[name], column.values) for name in (first, second))
        ]
        for other in columns:
            if other is column or passes[other.name].loss != own.loss or _is_looked_up(own, other):
                continue
            for pair in pairs:
                fit = [
                    name
                    for name in pair
                    if 0 <= int(other.values.min()) <= int(other.values.max()) < tables[name].num_embeddings
                ]
                if fit:
                    return GivenTwice(given=column.name, unread=other.name, layer=fit[-1], how="tables")
    return None


def _have_pairs(seen: _Pass, tables: dict[str, nn.Embedding], columns: list[_Column]) -> bool:
    """Whether several columns are looked up in two tables of one width, as of a real and an imaginary part."""
    widths = [
        [tables[name].embedding_dim for name, words in seen.looked_up.items() if _equal(words, c.values)] for c in columns
    ]
    return sum(len(each) > len(set(each)) for each in widths) > 1


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other.to(one.device))


def _is_looked_up(seen: _Pass, column: _Column) -> bool:
    return any(_equal(words, column.values) for words in seen.looked_up.values())


def _columns(batch: Any) -> list[_Column]:
    found = []
    for name, t in tensors(batch):
        if t.is_floating_point() or t.is_complex() or t.dtype == torch.bool or len(t.shape) not in (1, 2):
            continue
        if len(t) < _FEWEST_ROWS or (t.dim() == 2 and not 2 <= t.shape[1] <= _MOST_COLUMNS):
            continue
        order = torch.arange(len(t), device=t.device).roll(1)
        for place in range(1 if t.dim() == 1 else t.shape[1]):
            values = t if t.dim() == 1 else t[:, place]
            if len(values.unique()) < _FEWEST_VALUES:
                continue
            mixed = t.clone(memory_format=torch.contiguous_format)
            mixed.view(len(t), -1)[:, place] = values[order]
            called = name if t.dim() == 1 else f"{name}[:, {place}]"
            found.append(_Column(called, values.detach().clone(), exchanged(batch, t, mixed)))
    return found


def _passed(model: nn.Module, batch: Any, forward: Forward, tables: dict[str, nn.Embedding]) -> _Pass:
    looked_up: dict[str, Tensor] = {}

    def see(name: str) -> Callable[[nn.Module, Any], None]:
        def keep(module: nn.Module, args: Any) -> None:
            if args and isinstance(args[0], Tensor):
                looked_up[name] = args[0].detach().flatten().clone()

        return keep

    handles = [table.register_forward_pre_hook(see(name)) for name, table in tables.items()]
    try:
        return _Pass(seeded_loss(model, batch, forward), looked_up)
    finally:
        for handle in handles:
            handle.remove()
