"""Losses of quantiles: which quantile each output is trained to be, read off the slopes on either side of the targets."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.column_order import keeps_columns
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.instead import pull, returned_once
from trainability.doctor.measure.uses import called_by, is_filled, is_library, plain_function

_NAMES, _LETTERS = ("quantile", "taus"), frozenset({"q", "qs", "tau"})  # part of a name; a whole one
_SAME, _ALIKE = 1e-4, 1e-3  # of the largest slope; of a level
_DEPTH = 3  # of objects in objects: a step, its loss, the levels

Forward = Callable[[Any, Any], Tensor]


def turned_quantiles(
    model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass
) -> tuple[str, tuple[float, ...], tuple[float, ...], bool] | None:
    """Put all outputs below all targets, and above them: an output's level is its slope below over both slopes together.

    Args:
        model: runs as it is.
        batch: as the loop draws it.
        forward: of (model, batch), the loss; it holds or looks up the levels, by a name that says that they are quantiles.
        seen: the same pass.

    Returns:
        The name, the levels, the ones that outputs are trained for, where each of these is one minus its level, and whether
        nothing but a sign explains that, as columns in another order would with levels 0.1, 0.5 and 0.9, where the loss takes
        columns one by one; None where they agree, and where the loss is not linear on either side, holds no levels, or has
        other outputs.
    """
    numbers = [t.detach().float() for _, t in seen.batch if t.is_floating_point() and t.numel()]
    held = dict(_named_levels(forward)) if numbers and len(seen.returned) == 1 else {}
    own = returned_once(model, batch, forward) if held else None
    if own is None or len(own.tensors) != 1:
        return None
    low, high = min(float(t.min()) for t in numbers), max(float(t.max()) for t in numbers)
    far = high - low + 1

    def slopes(level: float) -> Tensor | None:
        return pull(model, batch, forward, own, answers=[torch.full_like(own.tensors[0], level)])

    below, lower, above, higher = (slopes(level) for level in (low - far, low - 2 * far, high + far, high + 2 * far))
    if below is None or lower is None or above is None or higher is None:
        return None
    slight = _SAME * float(torch.maximum(above.abs(), below.abs()).max())
    if float((below - lower).abs().max()) > slight or float((above - higher).abs().max()) > slight:
        return None
    if not bool((below < 0).all()) or not bool((above > 0).all()):
        return None
    trained = below / (below - above)
    found = {name: (levels, _along(trained, len(levels))) for name, levels in held.items()}
    if any(_agree(levels, way) for levels, ways in found.values() for way in ways):
        return None
    turned = (
        (name, levels, way, not _agree(levels, way[::-1]) or keeps_columns(_functions_of(forward), len(levels)))
        for name, (levels, ways) in found.items()
        for way in ways
        if _agree(tuple(1 - level for level in levels), way)
    )
    return next(turned, None)


def _along(trained: Tensor, count: int) -> list[tuple[float, ...]]:
    """Along each dimension of that size what the outputs are trained for, where it is the same along all others."""
    found = []
    for dim in range(trained.dim()) if count > 1 else ():
        rows = trained.movedim(dim, -1).reshape(-1, trained.shape[dim])
        if trained.shape[dim] == count and float((rows - rows[:1]).abs().max()) <= _ALIKE:
            found.append(tuple(rows[0].tolist()))
    if count == 1 and float((trained - trained.flatten()[0]).abs().max()) <= _ALIKE:
        found.append((float(trained.flatten()[0]),))
    return found


def _agree(levels: tuple[float, ...], others: tuple[float, ...]) -> bool:
    return len(levels) == len(others) and all(abs(a - b) <= _ALIKE for a, b in zip(levels, others, strict=True))


def _named_levels(function: Any) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Numbers between 0 and 1 that a function, or what it holds and looks up, has under the name of quantiles."""
    for name, value in _all_held(function):
        says_so = name.lower() in _LETTERS or any(word in name.lower() for word in _NAMES)
        if says_so and (levels := _levels(value)):
            yield name, levels


def _functions_of(function: Any) -> list[Any]:
    """A function and those that it holds or calls, without a library's."""
    held = [function, *(value for _, value in _all_held(function))]
    plain = {id(each): each for each in map(plain_function, held) if inspect.isfunction(each) and not is_library(each)}
    return list(plain.values())


def _all_held(function: Any) -> Iterator[tuple[str, Any]]:
    """What a function, and what it holds, hold and look up, by name."""
    waiting, known = [(function, 0)], set[int]()
    while waiting:
        holder, depth = waiting.pop()
        if id(holder) in known or depth > _DEPTH:
            continue
        known.add(id(holder))
        for name, value in _held_by(holder):
            yield name, value
            if isinstance(value, nn.Module) or inspect.isroutine(value) or isinstance(value, functools.partial):
                waiting.append((value, depth + 1))


def _held_by(holder: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(holder, functools.partial):
        yield from holder.keywords.items()
        yield "", holder.func
        return
    if isinstance(holder, nn.Module):
        yield from {**vars(holder), **holder._buffers, **holder._modules}.items()
        yield "", type(holder).forward
        return
    yield "", getattr(holder, "__self__", None)
    for each in (holder, *called_by(holder)):
        plain = inspect.unwrap(getattr(each, "__func__", each))
        if not inspect.isfunction(plain) or plain.__module__.startswith("torch."):
            continue
        yield from ((name, plain.__globals__[name]) for name in plain.__code__.co_names if name in plain.__globals__)
        cells = zip(plain.__code__.co_freevars, plain.__closure__ or (), strict=True)
        yield from ((name, cell.cell_contents) for name, cell in cells if is_filled(cell))
        yield from ((p.name, p.default) for p in inspect.signature(plain).parameters.values())


def _levels(value: Any) -> tuple[float, ...]:
    """Levels, of which one at least is not the median; none where something else is held."""
    given = value.tolist() if hasattr(value, "tolist") else value
    given = [given] if isinstance(given, float) else given
    if not isinstance(given, list | tuple) or not all(isinstance(x, float) and 0 < x < 1 for x in given):
        return ()
    return tuple(given) if any(abs(x - 0.5) > _ALIKE for x in given) else ()
