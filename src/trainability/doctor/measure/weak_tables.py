"""More of a table in which little can be predicted: examples from all over its loader, and products of its columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, SequentialSampler

_MOST_IN_TWOS, _MOST_IN_THREES, _MOST_IN_FOURS = 64, 24, 12  # columns: 2,016 products, 2,024, and 495
_FEWEST = 600  # examples
_EACH = 64  # products that are made at once
_MOST_SUMS = 2e9  # of numbers, over which products of examples and answers are taken: a second


def spread(batches: Iterable[Any]) -> Iterable[Any]:
    """Batches of a loader that goes through its data in order, from all over them; other loaders as they are.

    Days before a launch say nothing of what came with it.
    """
    rng = torch.Generator().manual_seed(0)
    if isinstance(batches, list | tuple):
        return [batches[i] for i in torch.randperm(len(batches), generator=rng).tolist()]
    if not isinstance(batches, DataLoader) or isinstance(batches.dataset, IterableDataset) or not batches.batch_size:
        return batches
    size, num_examples = batches.batch_size, len(batches.dataset)  # type: ignore[arg-type]
    if type(batches.sampler) is not SequentialSampler or num_examples < 2 * size:
        return batches
    starts = torch.randperm(num_examples // size, generator=rng).mul(size).tolist()
    places = [list(range(start, start + size)) for start in starts]
    return DataLoader(batches.dataset, batch_sampler=places, collate_fn=batches.collate_fn)


def strongest_products(columns: Tensor, answers: Tensor, orders: Sequence[Tensor]) -> list[float] | None:
    """Largest correlations of a product of two to four columns with an answer: as they are, and in each of the orders.

    Whether an even number of them is negative, none of them tells alone.

    Args:
        columns: (examples, columns), mean 0 and standard deviation 1.
        answers: (examples, answers), likewise.
        orders: of the examples.

    Returns:
        None where there are too many columns or answers, or fewer than two columns.
    """
    width = columns.shape[1]
    if not 2 <= width <= _MOST_IN_TWOS:
        return None
    few = columns.clamp(-1.0, 1.0)  # no few examples make it all
    most_columns = {2: _MOST_IN_TWOS, 3: _MOST_IN_THREES, 4: _MOST_IN_FOURS}
    factors = [torch.combinations(torch.arange(width), count) for count, n in most_columns.items() if count <= width <= n]
    num_products = sum(len(each) for each in factors)
    most = int(_MOST_SUMS / (num_products * answers.shape[1] * (len(orders) + 1)))
    if most < min(_FEWEST, len(columns)):
        return None
    few = few[:most]
    told = torch.stack([answers[: len(few)], *(answers[order[order < len(few)]] for order in orders)])
    told = told.permute(1, 0, 2).reshape(len(few), -1)  # (examples, orders x answers)
    best = torch.zeros(told.shape[1])
    for part in (part for each in factors for part in each.split(_EACH)):
        products = few[:, part].prod(dim=2)
        products = (products - products.mean(dim=0)) / products.std(dim=0, correction=0).clamp(min=1e-6)
        best = torch.maximum(best, (products.T @ told).abs().amax(dim=0))
    return best.reshape(len(orders) + 1, -1).amax(dim=1).tolist()
