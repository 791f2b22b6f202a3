"""The order of float targets in a loader, or in the sampled steps of a loop: mixed, sorted, or mostly along another order."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from trainability.doctor.audit_results import TargetOrder
from trainability.doctor.batches import tensors
from trainability.doctor.measure.randomness import generators_restored, randomness_restored

_FEWEST_BATCHES, _FEWEST_ROWS, _FEWEST_VALUES = 10, 8, 10  # rows of each batch; different targets
_MOST_COLUMNS = 8
_APART = 0.9  # of the batches that are next to each other
_FEWEST_SAMPLES, _FEWEST_RANGES, _FEWEST_FALLS, _MOST_FALLS = 16, 5, 2, 0.4
_FALL = 0.5  # of the range of the batches' means, from the end of a pass back to the beginning of the next
_READ_AGAIN, _LOOKED_AT = 3, 64  # batches; examples of the first, which `facts_of` takes as well
_DRIFT = 0.9  # correlation of a batch's place with the rank of its mean; forty batches in random order reach it never
_FEWEST_LENGTHS, _MOST_INDICES = 5, 4096
_ONE_WAY = 0.9  # of the steps from index to index that lead up, or down: data in the order in which they are stored


def sorted_batches(batches: Sequence[Tensor], loader: Iterable[Any]) -> TargetOrder | None:
    """Compare the targets of batches that came one after the other.

    Args:
        batches: targets, each (examples, numbers), in the order in which they came; the last may be smaller.
        loader: that they came from. Where they are sorted, its first ones are read once more; where they drift, all.

    Returns:
        The comparison of the column whose batches lie apart, or whose means drift while the loader puts the examples in an
        order of its own; None where they do neither, or come in another order in the next pass. A drift in the order in which
        the data are stored may be that of a series, and is no mistake.
    """
    if len(batches) < _FEWEST_BATCHES or min(len(y) for y in batches[:-1]) < _FEWEST_ROWS:
        return None
    if (found := _of_columns(batches, _lie_in_order)) is not None:
        return found if _read_again(batches[:_READ_AGAIN], loader) is not None else None
    found = _of_columns(batches, _drift)
    lengths = _read_again(batches, loader) if found is not None else None
    if found is None or lengths is None:
        return None
    along = "length" if _go_one_way(lengths) else "sampler" if _has_own_order(loader) else None
    return replace(found, along=along) if along is not None else None


def sorted_samples(batches: Sequence[Tensor]) -> TargetOrder | None:
    """The same of the sampled steps of several passes: means rise, and fall back at the end of each pass.

    Targets that drift, as goals do that are made in training, do not fall back.
    """
    if len(batches) < _FEWEST_SAMPLES or min(map(len, batches)) < _FEWEST_ROWS:
        return None
    return _of_columns(batches, _lie_in_passes)


def _of_columns(batches: Sequence[Tensor], are_sorted: Callable[[list[Tensor]], bool]) -> TargetOrder | None:
    if len({y.shape[1:] for y in batches}) != 1 or not 1 <= batches[0].flatten(1).shape[1] <= _MOST_COLUMNS:
        return None
    rows = [y.flatten(1) for y in batches]
    joined = torch.cat(rows)
    varies = joined.var(dim=0, correction=0) > 0
    if not bool(torch.isfinite(joined).all()) or not bool(varies.any()):
        return None
    means, counts = torch.stack([y.mean(dim=0) for y in rows]), torch.tensor([len(y) for y in rows])[:, None]
    between = (counts * (means - joined.mean(dim=0)).square()).sum(dim=0) / len(joined)
    explained = float((between / joined.var(dim=0, correction=0))[varies].mean())
    by_chance = (len(rows) - 1) / (len(joined) - 1)
    columns = [k for k in range(joined.shape[1]) if len(joined[:, k].unique()) >= _FEWEST_VALUES]
    if not any(are_sorted([y[:, k] for y in rows]) for k in columns):
        return None
    return TargetOrder(
        num_batches=len(rows),
        num_examples=len(joined),
        explained=explained,
        by_chance=by_chance,
        lowest=float(joined.min()),
        highest=float(joined.max()),
        first_mean=float(rows[0][:_LOOKED_AT].mean()),
    )


def _lie_in_order(batches: list[Tensor]) -> bool:
    """Whether means only rise and nearly every batch lies above the one before; or the same downwards."""
    for way in (batches, [-y for y in batches]):
        pairs = list(itertools.pairwise(way))
        rises = all(bool(a.mean() <= b.mean()) for a, b in pairs)
        if rises and sum(bool(a.max() <= b.min()) for a, b in pairs) >= _APART * len(pairs):
            return True
    return False


def _lie_in_passes(batches: list[Tensor]) -> bool:
    """Whether batches have ranges of their own, which rise, or fall, through each of several passes."""
    ranges = sorted({(float(y.mean()), float(y.min()), float(y.max())) for y in batches})
    apart = sum(a[2] <= b[1] for a, b in itertools.pairwise(ranges))
    if len(ranges) < _FEWEST_RANGES or apart < _APART * (len(ranges) - 1):
        return False
    means = torch.stack([y.mean() for y in batches])
    far = _FALL * (means.max() - means.min())
    for steps in (means.diff(), -means.diff()):
        falls = int((steps <= -far).sum())
        if _FEWEST_FALLS <= falls <= _MOST_FALLS * len(steps) and bool(((steps >= 0) | (steps <= -far)).all()):
            return True
    return False


def _drift(batches: list[Tensor]) -> bool:
    """Whether the means of the batches rise, or fall, through the pass, give or take."""
    ranks = torch.stack([y.mean() for y in batches]).argsort().argsort().double()
    return abs(float(torch.corrcoef(torch.stack([ranks, torch.arange(len(ranks)).double()]))[0, 1])) >= _DRIFT


def _read_again(batches: Sequence[Tensor], loader: Iterable[Any]) -> list[int] | None:
    """Lengths of the examples, as batches are padded to; None where the targets of the next pass are others."""
    lengths: list[int] = []
    with randomness_restored():
        for targets, batch in zip(batches, loader, strict=False):
            (_, given), *rest = (*tensors(batch), ("", torch.zeros(0)))
            again = rest[0][1]
            if again.numel() != targets.numel():
                return None
            if not torch.equal(again.detach().cpu().double().reshape(targets.shape), targets):
                return None
            lengths.append(given.shape[1] if given.dim() > 1 else 0)
    return lengths


def _go_one_way(lengths: Sequence[int]) -> bool:
    """Whether examples come from short to long, or from long to short."""
    steps = [b - a for a, b in itertools.pairwise(lengths)]
    return len(set(lengths)) >= _FEWEST_LENGTHS and (min(steps) >= 0 or max(steps) <= 0)


def _has_own_order(loader: Iterable[Any]) -> bool:
    """Whether a sampler draws examples in the same order in every pass, and not as they are stored."""
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return False
    passes: list[list[int]] = []
    with randomness_restored(), generators_restored(loader):
        for _ in range(2):
            drawn = itertools.chain.from_iterable(loader.batch_sampler) if loader.batch_sampler is not None else loader.sampler
            passes.append([int(index) for index in itertools.islice(drawn, _MOST_INDICES)])
    up = [b > a for a, b in itertools.pairwise(passes[0])]
    return passes[0] == passes[1] and bool(up) and 1 - _ONE_WAY < sum(up) / len(up) < _ONE_WAY
