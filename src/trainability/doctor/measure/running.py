"""Running statistics of batch norm: how slowly they leave the mean 0 and the variance 1 of their start, and the past."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader

from trainability.doctor.batches import batch_size
from trainability.doctor.measure.as_drawn import is_as_drawn, weight_of
from trainability.doctor.measure.workspace import set_training

SLOW = 0.01  # of a momentum: below, a hundred batches leave a third and more of the start
FAST = 0.3  # of a momentum: above, the last batch counts for as much as all before the fifth last
_FEWEST_IDLE, _AS_DRAWN = 2, 0.9  # of norms that do nothing; of the layers, those that nothing was loaded into
_FRESH = 2  # batches, after which they are still those of the start
_MOST_BATCHES = 50  # that are told apart: of a fast momentum the earlier ones have no part


def running_facts(model: nn.Module, batches: Iterable[Any] = ()) -> dict[str, Any]:
    """The fields of `Facts` about them: the slowest of those that are at their start, the fastest of all, and one without.

    Args:
        model: plain.
        batches: the training loader, whose last batch may be smaller than the others.
    """
    every = {name: m for name, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    norms = {
        name: (float(module.momentum), module.num_batches_tracked)
        for name, module in every.items()
        if module.momentum is not None and module.track_running_stats
    }
    found: dict[str, Any] = {}
    without = next((name for name, module in every.items() if module.running_mean is None), None)
    if without is not None:
        found["no_statistics"] = (without, max(last_sizes(batches), default=None), None)
    slow = {
        name: momentum
        for name, (momentum, tracked) in norms.items()
        if tracked is not None and int(tracked) <= _FRESH and momentum < SLOW
    }
    if slow:
        found["slow_statistics"] = min(slow.items(), key=lambda item: item[1])
    fast = {name: momentum for name, (momentum, _) in norms.items() if FAST <= momentum <= 1}
    if fast:
        found["fast_statistics"] = max(fast.items(), key=lambda item: item[1])
        if len(sizes := last_sizes(batches)) > 1:  # the statistics of one batch of everything are right at any momentum
            found["examples_behind"] = (sizes[-1], _examples_behind(found["fast_statistics"][1], sizes))
    return found


def idle_norms(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> tuple[str, ...]:
    """Find normalisations of the program's own that keep a mean of 0 and a variance of 1 in training, and so do nothing.

    Statistics that are fixed belong to weights that were trained with them. Into a network that is trained from scratch none
    were loaded.

    Args:
        model: plain; runs once more, in train mode.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.

    Returns:
        Their names, two or more, of those that run in training mode; () where a layer of the model is not as PyTorch drew it,
        as one that was loaded.
    """
    own = {name: m for name, m in model.named_modules() if not type(m).__module__.startswith("torch.nn.") and _is_idle(m)}
    layers = [m for m in model.modules() if weight_of(m) is not None] if len(own) >= _FEWEST_IDLE else []
    if not layers or sum(map(is_as_drawn, layers)) < _AS_DRAWN * len(layers):
        return ()
    ran: set[str] = set()

    def noted(name: str) -> Callable[[nn.Module, Any], None]:
        def note(module: nn.Module, given: Any) -> None:
            if module.training:
                ran.add(name)

        return note

    set_training(model, True)
    with contextlib.ExitStack() as stack, torch.random.fork_rng(devices=[]):
        for name, module in own.items():
            stack.callback(module.register_forward_pre_hook(noted(name)).remove)
        forward(model, batch)
    found = tuple(name for name, module in own.items() if name in ran and _is_idle(module))
    return found if len(found) >= _FEWEST_IDLE else ()


def _is_idle(module: nn.Module) -> bool:
    """Whether a module's running mean is 0 and its running variance 1."""
    buffers = dict(module.named_buffers(recurse=False))
    mean, variance = buffers.get("running_mean"), buffers.get("running_var")
    return mean is not None and variance is not None and not bool(mean.any()) and bool((variance == 1).all())


def last_sizes(batches: Iterable[Any]) -> list[int]:
    """Examples in the last batches of a pass, in their order; nothing where only reading all of them would tell."""
    if isinstance(batches, DataLoader):
        sampler, size = batches.batch_sampler, batches.batch_size
        if type(sampler) is not BatchSampler or size is None or not hasattr(sampler.sampler, "__len__"):
            return []
        count = len(sampler.sampler)  # pyright: ignore[reportArgumentType]
        rest = 0 if batches.drop_last else count % size
        return ([size] * (count // size) + [rest] * (rest > 0))[-_MOST_BATCHES:]
    found = [batch_size(each) for each in batches[-_MOST_BATCHES:]] if isinstance(batches, Sequence) else []
    return [size for size in found if size] if all(found) else []


def _examples_behind(momentum: float, sizes: list[int]) -> float:
    """Examples whose plain mean is as certain as the running one, which weighs the last batch by the momentum."""
    variance, left = 0.0, 1.0
    for size in reversed(sizes):
        variance += (left * momentum) ** 2 / size
        left *= 1 - momentum
    # What is left belongs to the epoch before, or to the start.
    return (1 - left) ** 2 / variance


def shared_statistics(
    model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]
) -> tuple[str, int, float, str] | None:
    """A batch norm that one pass of the model calls several times, on numbers of which no one mean and variance is right.

    Args:
        model: in train mode; its buffers are restored by whoever asks.
        batch: what it was asked.
        forward: of (model, batch), the loss.

    Returns:
        Its name, the places that call it, by what factor the square of what evaluation makes of one of them is off (where all
        calls share their mean and mean square), and its class; the worst. Rows of one tensor that it is given in several parts
        are of one place. None where no batch norm is called at two places.
    """
    calls: dict[str, list[list[Tensor]]] = {}
    norms = {name: m for name, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}

    def begin(module: nn.Module, given: Any) -> None:
        calls.clear()

    def noted(name: str) -> Callable[[nn.Module, Any], None]:
        def note(module: nn.Module, given: Any) -> None:
            places = calls.setdefault(name, [])
            place = next((parts for parts in places if _is_of_one(parts[0], given[0])), None)
            if place is None:
                places.append([given[0].detach()])
            else:
                place.append(given[0].detach())

        return note

    with contextlib.ExitStack() as stack, torch.no_grad(), torch.random.fork_rng(devices=[]):
        stack.callback(model.register_forward_pre_hook(begin).remove)
        for name, module in norms.items():
            if module.track_running_stats:
                stack.callback(module.register_forward_pre_hook(noted(name)).remove)
        forward(model, batch)
    several = {name: places for name, places in calls.items() if len(places) > 1}
    off = {name: _off([_moments(parts) for parts in places]) for name, places in several.items()}
    worst = max(off, key=lambda name: off[name], default=None)
    return (worst, len(several[worst]), off[worst], type(norms[worst]).__name__) if worst is not None else None


def _is_of_one(part: Tensor, other: Tensor) -> bool:
    """Whether two are some rows each of one tensor, as a batch is split for a norm that takes the statistics of few of them."""
    is_alike = part.shape[1:] == other.shape[1:] and part.stride() == other.stride() and part.dtype == other.dtype
    if not is_alike or part.untyped_storage().data_ptr() != other.untyped_storage().data_ptr():
        return False
    return (part.storage_offset() - other.storage_offset()) % max(part.stride(0), 1) == 0


def _moments(parts: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel at one place, of all rows that come to it."""
    rows = torch.cat([part.transpose(0, 1).flatten(1).double() for part in parts], dim=1)
    return rows.mean(dim=1), rows.var(dim=1)


def _off(seen: list[tuple[Tensor, Tensor]]) -> float:
    """Median over channels of the mean square behind the shared statistics over 1, or 1 over it; of the worst call."""
    means, variances = torch.stack([m for m, _ in seen]), torch.stack([v for _, v in seen])
    shared_mean, shared = means.mean(dim=0), variances.mean(dim=0)
    squares = ((means - shared_mean) ** 2 + variances) / shared.clamp(min=1e-30)
    return float(torch.maximum(squares, 1 / squares.clamp(min=1e-30)).median(dim=1).values.max())


def without_statistics(names: Iterable[str], models: Iterable[tuple[str, nn.Module]]) -> tuple[str, ...]:
    """Names of those batch norms whose running statistics are what they began with: mean 0 and variance 1.

    Args:
        names: of modules, in their model.
        models: with what stands before such a name, "" of one model.
    """
    found = {
        f"{prefix}.{name}" if prefix else name: module for prefix, model in models for name, module in model.named_modules()
    }
    return tuple(name for name in names if name in found and _is_idle(found[name]))
