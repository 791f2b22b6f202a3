"""Batches that the loader keeps and yields again, and that a step writes to."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import cloned, map_parts, tensors
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.noise_in_place import noise_in_place
from trainability.doctor.measure.randomness import generators_restored, randomness_restored, seed_torch
from trainability.doctor.readings import Overwritten

_CHANGED = 1e-3  # of the spread of a tensor: rounding leaves less

Forward = Callable[[Any, Any], Tensor]


def written_to(model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass, batches: Iterable[Any]) -> Overwritten | None:
    """Look for noise that a step adds to what is also its target, or else for what it leaves in a batch that is kept.

    Args:
        model: runs as it is.
        batch: copied.
        forward: of (model, batch), the loss.
        seen: the first pass, over this batch.
        batches: of the training loader, whose first is read twice.

    Returns:
        What is written to. Of kind "step", each of two runs of the step on one copy of the batch changes the numbers that it is
        given, and the loader yields the same memory in each pass, as a list of batches does; what DataLoader puts together is
        new each time. None elsewhere, and where a second run finds what the first has left as it should be.
    """
    return noise_in_place(model, batch, forward, seen) or _written_by_step(model, batch, forward, seen, batches)


def _written_by_step(
    model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass, batches: Iterable[Any]
) -> Overwritten | None:
    if not any(t._version > 0 and t.is_floating_point() for _, t in seen.batch):
        return None
    copy = cloned(batch)
    looks = [dict(tensors(cloned(copy)))]
    for _ in range(2):
        with randomness_restored(), torch.enable_grad():
            seed_torch(0)
            forward(model, copy)
        looks.append(dict(tensors(cloned(copy))))
    for place, first in looks[0].items():
        if not first.is_floating_point() or first.dim() == 0 or first.numel() < 2 or not all(place in look for look in looks):
            continue
        values = [look[place].detach().double() for look in looks]
        limit = _CHANGED * float(values[0].std())
        changed = [(after - before).abs() > limit for before, after in itertools.pairwise(values)]
        if limit > 0 and all(bool(each.any()) for each in changed) and _is_kept(batches, place):
            rows = int(changed[0].reshape(len(first), -1).any(dim=1).sum())
            share = float(changed[0].double().mean())
            return Overwritten(kind="step", place=place, num_examples=len(first), num_changed=rows, share=share)
    return None


def _is_kept(batches: Iterable[Any], place: str) -> bool:
    """Whether two passes over the loader begin with the same memory, both of them alive."""
    if isinstance(batches, CopiedBatches):
        return True
    with randomness_restored(), generators_restored(batches):
        one, other = (dict(tensors(next(iter(batches), None))).get(place) for _ in range(2))
    return one is not None and other is not None and one.data_ptr() == other.data_ptr() and one.numel() > 0


class CopiedBatches(list):
    """A list of batches of which each pass yields copies, so that a model that writes to its input leaves the list alone.

    Objects that are no tensors, such as an environment that steps go on with, are the list's own.

    Args:
        batches: of a loop whose loader is a list or a tuple.
    """

    def __iter__(self) -> Iterator[Any]:
        return map(_with_own_tensors, super().__iter__())


def _with_own_tensors(batch: Any) -> Any:
    return cloned(batch) if isinstance(batch, Tensor) else map_parts(batch, _with_own_tensors)


def copied_batches(loader: Any) -> Any:
    """A loader that is a list or a tuple, as copies; any other as it is."""
    return CopiedBatches(loader) if isinstance(loader, list | tuple) else loader
