"""Weights of a loss beside the shares of its classes, or of its marks, in the whole data set."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)

from trainability.doctor.batches import tensors
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.randomness import generators_restored, randomness_restored

_CLOSE = math.log(1.01)
_UNEVEN, _TWICE = 3.0, 2.0  # times as many examples; a factor by which shares and weights may be off
_LIGHTER = 2.0  # times, that the most frequent class weighs
_SECONDS, _AT_ONCE = 3.0, 256  # seconds for reading; examples
_WITHOUT_WEIGHTS = (SequentialSampler, RandomSampler, SubsetRandomSampler, DistributedSampler)


def shares_of_data(seen: ForwardPass, batches: Iterable[Any]) -> dict[str, Any]:
    """The facts of weights that are the shares of the data set; what a batch is too small for, it tells.

    Args:
        seen: a pass of the batch.
        batches: the training loader.
    """
    if seen.share_weights is None or not are_shares_of_data(seen, batches):
        return {"weighs_by_share": False}
    wrong = seen.wrong_argument if seen.wrong_argument is not None else (seen.share_weights[0], "rare_lighter")
    return {"weighs_by_share": True, "wrong_argument": wrong}


def are_shares_of_data(seen: ForwardPass, batches: Iterable[Any]) -> bool:
    """Whether weights are those of the data set, to a hundredth, and not all alike.

    A round number is near a share by coincidence, and weights may undo what a sampler does, or what was drawn before: neither
    is that near.

    Args:
        seen: a pass of the batch; its `share_weights` are asked.
        batches: the training loader: a DataLoader, or a list of all batches.

    Returns:
        False also where the data set takes more than a few seconds to read, the loss's target is no tensor of the batch, or a
        sampler draws some examples more often than others, or may do so.
    """
    if seen.share_weights is None:
        return False
    name, target, weight = seen.share_weights
    weight = weight.detach().double().cpu()
    places = [place for place, own in seen.batch if own.numel() == target.numel() and _is_same(own, target)]
    if not places:
        return False
    compared = _are_positives if name == "binary_cross_entropy_with_logits" else _are_counts
    with randomness_restored(), generators_restored(batches), contextlib.suppress(Exception):  # no data set to read
        for whole in _readings(batches):
            parts = (dict(tensors(batch))[places[0]].detach().cpu() for batch in whole)
            if compared(weight, (part.reshape(-1, *target.shape[1:]) for part in parts)):
                return True
    return False


def balanced_twice(seen: ForwardPass, batches: Iterable[Any]) -> tuple[float, float] | None:
    """Whether a sampler draws classes about equally often that the data has not, and the loss weights them on top of it.

    Args:
        seen: a pass of the batch; its `class_weights` are asked.
        batches: the training loader.

    Returns:
        How many times as many examples the most frequent class has as the rarest, and how many times as much each example of
        the rarest one weighs; None where the sampler leaves classes as uneven as a factor of 2, or weights are no inverses of
        the counts, to a factor of 2.
    """
    sampler: Any = batches.sampler if isinstance(batches, DataLoader) and type(batches.batch_sampler) is BatchSampler else None
    if seen.class_weights is None or not isinstance(batches, DataLoader) or not isinstance(sampler, WeightedRandomSampler):
        return None
    target, weights = seen.class_weights
    places = [place for place, own in seen.batch if own.numel() == target.numel() and _is_same(own, target)]
    data = batches.dataset
    if not places or target.numel() != len(target) or len(sampler.weights) != len(data):  # type: ignore[arg-type]
        return None
    with randomness_restored(), generators_restored(batches), contextlib.suppress(Exception):  # no data set to read
        whole = _read(data, range(len(data)), batches.collate_fn)  # type: ignore[arg-type]
        labels = torch.cat([dict(tensors(batch))[places[0]].detach().cpu().reshape(-1) for batch in whole]).long()
        counts = torch.bincount(labels, minlength=len(weights)).double()
        drawn = torch.bincount(labels, weights=sampler.weights.double().cpu(), minlength=len(weights))
        if len(counts) != len(weights) or not bool((counts > 0).all()):
            return None
        most, rarest = int(counts.argmax()), int(counts.argmin())
        fewer, heavier = float(counts[most] / counts[rarest]), float(weights[rarest] / weights[most])
        is_even = 1 / _TWICE <= float(drawn[most] / drawn[rarest]) <= _TWICE
        if fewer >= _UNEVEN and is_even and heavier >= _UNEVEN and 1 / _TWICE <= heavier / fewer <= _TWICE:
            return fewer, heavier
    return None


def _is_same(own: Tensor, target: Tensor) -> bool:
    return not own.is_complex() and bool((own.detach().double().flatten() == target.detach().double().flatten()).all())


def _are_positives(weight: Tensor, targets: Iterator[Tensor]) -> bool:
    """Whether a weight for positive marks is their share, or positives over negatives; of several, half of them or more."""
    sums, count = torch.zeros(()).double(), 0
    for part in targets:
        sums, count = sums + part.double().sum(dim=0), count + len(part)
    shape = [1] * (sums.dim() + 1 - weight.dim()) + list(weight.shape)
    alike = [place for place in range(sums.dim()) if shape[place + 1] == 1]
    share = (sums / count).mean(dim=alike, keepdim=True) if alike else sums / count
    given = weight.reshape(share.shape).log()
    near = ((given - share.log()).abs() <= _CLOSE) | ((given - share.logit()).abs() <= _CLOSE)
    return float(near.double().mean()) >= 0.5


def _are_counts(weight: Tensor, targets: Iterator[Tensor]) -> bool:
    """Whether weights of classes are in proportion to counts, or to their inverses in another order."""
    counts = torch.zeros(len(weight)).double()
    for part in targets:
        told = part[(part >= 0) & (part < len(weight))]
        counts += torch.bincount(told.long().flatten(), minlength=len(weight))
    order = counts.argsort(descending=True)
    if not weight[order[0]] >= _LIGHTER * weight[order[-1]] > 0:
        return False
    return any(_in_proportion(given, counts[order]) for given in (weight[order], 1 / weight.sort().values))


def _in_proportion(weights: Tensor, counts: Tensor) -> bool:
    return bool((((weights / weights.mean()).log() - (counts / counts.mean()).log()).abs() <= _CLOSE).all())


def _readings(batches: Any) -> Iterator[Iterator[Any]]:
    """The batches of all data that is trained on, and of all that it was split from."""
    if isinstance(batches, list | tuple):
        yield iter(batches)
    if not isinstance(batches, DataLoader) or type(batches.batch_sampler) is not BatchSampler:
        return
    sampler, data = batches.batch_sampler.sampler, batches.dataset
    if type(sampler) not in _WITHOUT_WEIGHTS:
        return
    own: Any = sampler.indices if isinstance(sampler, SubsetRandomSampler) else range(len(data))  # type: ignore[arg-type]
    yield _read(data, own, batches.collate_fn)
    if isinstance(data, Subset):
        yield _read(data.dataset, range(len(data.dataset)), batches.collate_fn)  # type: ignore[arg-type]


def _read(data: Any, indices: Sequence[int], collate: Callable[[list[Any]], Any]) -> Iterator[Any]:
    """Batches of these examples, in their order.

    Raises:
        TimeoutError: it takes too long.
    """
    if isinstance(data, Subset):
        data, indices = data.dataset, [data.indices[index] for index in indices]
    if type(data) is TensorDataset and collate is default_collate:
        chosen = torch.as_tensor(indices)
        yield [tensor[chosen] for tensor in data.tensors]
        return
    began = time.monotonic()
    for first in range(0, len(indices), _AT_ONCE):
        if time.monotonic() - began > _SECONDS:
            raise TimeoutError
        yield collate([data[index] for index in indices[first : first + _AT_ONCE]])
