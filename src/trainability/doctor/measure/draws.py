"""Random augmentation, drawn several times: whether it varies at all, between worker processes, and between epochs."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from trainability.doctor.audit_results import Redrawn
from trainability.doctor.batches import tensors
from trainability.doctor.measure.declared import is_random, stays_the_same
from trainability.doctor.measure.randomness import randomness_restored

# Two workers that draw a mirroring of each alike, by chance: once in 2^24.
_EXAMPLES, _DRAWS = 6, 4


def redrawn(loader: Any) -> Redrawn | None:
    """Draws a few examples again and again, in two worker processes where the loader has any.

    Random state of this process is put back. The data set's own generators advance where there are no worker processes, as
    they do when a batch is drawn.

    Args:
        loader: a torch DataLoader over a data set with indices.

    Returns:
        What was drawn; None for another loader, where nothing is random by name and there are no workers, or where drawing
        fails.
    """
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        return None
    declared = is_random(loader.dataset)
    if not loader.num_workers and not declared:
        return None
    with randomness_restored(), contextlib.suppress(Exception):  # a data set without a length or with keys for indices
        indices = _indices(loader)
        if loader.num_workers:
            found = _by_workers(loader, indices, declared)
        else:
            draws = [[_values(loader.dataset[i]) for _ in range(_DRAWS)] for i in indices]
            found = Redrawn(num_examples=len(indices), num_draws=_DRAWS, is_declared=declared, varies=_varies(draws))
        if not declared or found.varies:
            return found
        if (read := stays_the_same(loader.dataset, _values, _same)) is not None:
            return replace(found, num_examples=read[0], num_draws=read[1])
        return replace(found, is_declared=False)  # it may be rare
    return None


def _indices(loader: DataLoader) -> list[int]:
    size = len(loader.dataset)  # type: ignore[arg-type]
    return sorted({size * k // _EXAMPLES for k in range(_EXAMPLES)})


def _by_workers(loader: DataLoader, indices: list[int], declared: bool) -> Redrawn:
    """Every example goes to worker 0, then to worker 1, and so on in turns; twice, as two epochs would."""
    turns = [[i] for _ in range(_DRAWS) for i in indices for _ in range(2)]
    again = DataLoader(
        loader.dataset,
        batch_sampler=turns,
        num_workers=2,
        worker_init_fn=loader.worker_init_fn,
        collate_fn=loader.collate_fn,
        multiprocessing_context=loader.multiprocessing_context,
        persistent_workers=loader.persistent_workers,
    )
    epochs = [[_values(batch) for batch in again] for _ in range(2)]
    first, second = epochs[0][0::2], epochs[0][1::2]
    of_each = [first[k :: len(indices)] for k in range(len(indices))]
    varies = _varies(of_each)
    return Redrawn(
        num_examples=len(indices),
        num_draws=_DRAWS,
        is_declared=declared,
        varies=varies,
        workers_alike=varies and _equal(first, second) if loader.num_workers > 1 else None,
        epochs_alike=varies and _equal(*epochs),
    )


def _values(item: Any) -> list[Tensor]:
    return [tensor.detach().cpu() for _, tensor in tensors(item)] or list(_arrays(item))


def _arrays(item: Any) -> Iterator[Tensor]:
    for part in item if isinstance(item, tuple | list) else [item]:
        if hasattr(part, "__array__"):
            yield torch.as_tensor(part.__array__().copy())


def _same(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) and all(x.shape == y.shape and torch.equal(x, y) for x, y in zip(a, b, strict=True))


def _equal(a: list[list[Tensor]], b: list[list[Tensor]]) -> bool:
    return all(_same(x, y) for x, y in zip(a, b, strict=True))


def _varies(draws: list[list[list[Tensor]]]) -> bool:
    return any(not _same(drawn[0], other) for drawn in draws for other in drawn[1:])
