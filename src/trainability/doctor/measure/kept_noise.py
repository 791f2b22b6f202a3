"""Noise that a denoiser is to predict, and that is the same at every step."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors, to_device
from trainability.doctor.measure.randomness import generators_restored
from trainability.doctor.measure.redrawn import is_one, is_wanted, watched_pass, weight

_FEWEST_ROWS, _MOST_NUMBERS, _BATCHES = 8, 1 << 20, 3
_SHARE = 0.05  # of the noise in what the model is given, in squares
_VARIED = 0.5  # of the numbers, that are different

Forward = Callable[[Any, Any], Tensor]


def kept_noise(model: nn.Module, batch: Any, forward: Forward, batches: Iterable[Any]) -> float | None:
    """Look for a target that is the same for other batches and other random numbers, and that the model is given with data.

    Args:
        model: runs as it is; the caller puts modes, buffers and random state back.
        batch: as the loop draws it.
        forward: of (model, batch), the loss; not one recorded, in which numbers from elsewhere are always the same.
        batches: the training loader.

    Returns:
        The share of these numbers in the model's input, in squares, which is a * data + b * numbers with one a and b for each
        example; None without such a target, where its rows are all the same, as a pattern's are, where a generator of the
        program's own draws, and where no other batch has the same shapes.
    """
    for _, data in tensors(batch):
        is_data = data.is_floating_point() and data.dim() > 1 and len(data) >= _FEWEST_ROWS and data.numel() <= _MOST_NUMBERS
        if is_data and (found := _found(model, batch, forward, batches, data)) is not None:
            return found
    return None


def _found(model: nn.Module, batch: Any, forward: Forward, batches: Iterable[Any], data: Tensor) -> float | None:
    first = watched_pass(model, batch, forward, size=data.numel())
    if first.has_generator or first.loss is None:
        return None
    wanted = [
        (number, pair.target)
        for number, pair in enumerate(first.pairs)
        if pair.target.numel() == data.numel() and is_wanted(pair, first.loss) and _is_noise(pair.target)
        if any(is_one(pair.answer, t) for t in first.returned)
    ]
    if not wanted or (other := _other_batch(batch, batches, data)) is None:
        return None
    again = watched_pass(model, batch, forward, seed=1, size=data.numel())
    apart = watched_pass(model, other[0], forward, size=data.numel())
    for number, target in wanted:
        if not all(number < len(run.pairs) and torch.equal(run.pairs[number].target, target) for run in (again, apart)):
            continue
        for given, moved in zip(first.given, apart.given, strict=False):
            if given.numel() != data.numel() or given.shape != moved.shape or len(given) != len(data):
                continue
            share = _share(given, moved, data, other[1], target)
            if share is not None and share >= _SHARE:
                return share
    return None


def _is_noise(target: Tensor) -> bool:
    """Whether it is of numbers that differ, in rows that differ."""
    if target.dim() < 2 or not target.is_floating_point() or not bool(target.isfinite().all()):
        return False
    return len(target.unique()) >= _VARIED * target.numel() and len(target.reshape(len(target), -1).unique(dim=0)) == len(
        target
    )


def _other_batch(batch: Any, batches: Iterable[Any], data: Tensor) -> tuple[Any, Tensor] | None:
    """Another batch of the same shapes in which all rows of the data are others, and these."""
    own = [(name, t.shape) for name, t in tensors(batch)]
    name = next(name for name, t in tensors(batch) if t is data)
    with generators_restored(batches):
        for each in itertools.islice(batches, _BATCHES):
            other = to_device(each, data.device)
            found = dict(tensors(other))
            if [(name, t.shape) for name, t in found.items()] != own:
                continue
            if bool((found[name] != data).reshape(len(data), -1).any(dim=1).all()):
                return other, found[name]
    return None


def _share(given: Tensor, moved: Tensor, data: Tensor, other: Tensor, target: Tensor) -> float | None:
    """How much of the input is the target, where it is a mixture of the data and the target."""
    of_data = weight(moved - given, (other - data).reshape(given.shape), given)
    if of_data is None or not bool(of_data.any()):
        return None
    rows = data.reshape(len(data), -1).double() * of_data[:, None]
    rest = (given.reshape(rows.shape).double() - rows).to(given.dtype)
    of_noise = weight(rest, target.reshape(rest.shape), given)
    if of_noise is None or not bool(of_noise.any()):
        return None
    noise = target.reshape(rows.shape).double() * of_noise[:, None]
    return min(float(noise.square().mean()) / max(float(given.double().square().mean()), 1e-30), 1.0)
