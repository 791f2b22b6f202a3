"""Models that standardise each example, so that its mean or spread cannot count, and targets that go by these."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.batches import tensors
from trainability.doctor.measure.forward_pass import ForwardPass, callable_model
from trainability.doctor.measure.place_blind import woken
from trainability.doctor.measure.placed_targets import explained, standardised
from trainability.doctor.measure.randomness import generators_restored, randomness_restored, seed_torch
from trainability.doctor.readings import LevelBlind

_NUMBERS, _MOST_NUMBERS = 4, 256  # of an example, at least; that are looked at
_FEWEST, _MOST, _SECONDS = 200, 480, 5.0  # examples
_MOST_CHANNELS, _MOST_CLASSES = 16, 20
_SAME, _SPREAD = 2e-3, 1e-4  # change of the answers over their spread; spread over their size
_LEAST, _MOST_FREE = 0.5, 1 / 3  # of the targets' variance: explained by the level; by the rest, over that


def level_blind(seen: ForwardPass, batches: Iterable[Any]) -> LevelBlind | None:
    """Ask a copy about examples that are shifted, or stretched about their mean, each by another amount.

    Args:
        seen: a pass of the model, with one input of floating-point numbers (examples, ...).
        batches: the training loader, of batches of two tensors, of which some hundred examples are read where the answers stay
            the same.

    Returns:
        None where shifts and stretches change the answers; and unless the levels that they do not go by explain half of the
        targets' variance or more in held-out examples, and the rest of the input a third of that at most.
    """
    inputs = [x for _, x in tensors(seen.inputs)]
    if len(seen.calls) != 1 or len(inputs) != 1 or len(seen.inputs) != 1 or len(seen.batch) != 2:
        return None
    given = inputs[0].detach()
    if not given.is_floating_point() or given.dim() < 2 or len(given) < 4 or given[0].numel() < _NUMBERS:
        return None
    place = next((p for p, t in seen.batch if t.shape == given.shape and t.is_floating_point()), None)
    target = next((p for p, t in seen.batch if p != place and t.numel() == len(given)), None)
    if place is None or target is None or not bool(given.isfinite().all()):
        return None
    with randomness_restored(), torch.no_grad():
        seed_torch(0)
        twin = woken(callable_model(seen))
        kinds = _unheeded(twin, given) if twin is not None else ()
        if not kinds:
            return None
        with generators_restored(batches):
            told = _told_by_levels(batches, place, target, kinds)
    return LevelBlind(given=place, target=target, kinds=tuple(kind for kind, _ in kinds), **told) if told is not None else None


def _dims(x: Tensor, channels: int | None) -> list[int]:
    return [k for k in range(1, x.dim()) if k != channels]


def _unheeded(model: nn.Module, given: Tensor) -> tuple[tuple[str, int | None], ...]:
    """Of mean and spread, what does not change the answers: of each channel of that dimension, or (None) of a whole example."""
    own = _answers(model, given)
    if own is None:
        return ()
    spread = float((own - own.mean(dim=0)).square().mean().sqrt())
    if not spread > _SPREAD * float(own.square().mean().sqrt()):
        return ()
    found: list[tuple[str, int | None]] = []
    dims = sorted({1, given.dim() - 1}) if given.dim() > 2 else ()
    few = [k for k in dims if 1 < (size := given.shape[k]) <= _MOST_CHANNELS and given[0].numel() >= _NUMBERS * size]
    for kind in ("mean", "spread"):
        for channels in (*few, None):
            answer = _answers(model, _changed(given, kind, channels))
            if answer is not None and float((answer - own).square().mean().sqrt()) <= _SAME * spread:
                found.append((kind, channels))
                break
    return tuple(found)


def _changed(given: Tensor, kind: str, channels: int | None) -> Tensor:
    dims = _dims(given, channels)
    mean, deviation = given.mean(dim=dims, keepdim=True), given.std(dim=dims, keepdim=True)
    amount = torch.rand(mean.shape, dtype=given.dtype, device=given.device)
    return given + deviation * (2 * amount - 1) if kind == "mean" else mean + (given - mean) * (0.7 + 0.8 * amount)


def _answers(model: nn.Module, given: Tensor) -> Tensor | None:
    found = next((t for _, t in tensors(model(given))), None)
    is_usable = found is not None and found.dim() > 0 and len(found) == len(given) and bool(found.isfinite().all())
    return found.reshape(len(found), -1).double() if found is not None and is_usable else None


def _told_by_levels(
    batches: Iterable[Any], given: str, target: str, kinds: tuple[tuple[str, int | None], ...]
) -> dict[str, Any] | None:
    read = _read(batches, given, target)
    if read is None:
        return None
    x, wanted = read
    levels, rest = [], x
    for kind, channels in kinds:
        dims = _dims(x, channels)
        deviation = x.std(dim=dims, keepdim=True).clamp(min=1e-12)
        levels.append((x.mean(dim=dims) if kind == "mean" else deviation.log()).reshape(len(x), -1))
        rest = rest - rest.mean(dim=dims, keepdim=True) if kind == "mean" else rest / deviation
    flat = F.adaptive_avg_pool1d(rest.flatten(1)[:, None], min(rest[0].numel(), _MOST_NUMBERS))[:, 0]
    columns, features = standardised(wanted), standardised(torch.cat(levels, dim=1).double())
    if not columns.shape[1] or not features.shape[1]:
        return None
    by_level = explained([features], columns, bent=True)
    free = explained([standardised(flat.double()), standardised(flat.abs().double())], columns).clamp(min=0)
    told = torch.where((by_level >= _LEAST) & (free <= _MOST_FREE * by_level), by_level, -1.0)
    column = int(told.argmax())
    if not float(told[column]) > 0:
        return None
    return {"examples": len(x), "levelled": float(told[column]), "free": float(free[column])}


def _read(batches: Iterable[Any], given: str, target: str) -> tuple[Tensor, Tensor] | None:
    """Inputs, and targets (examples, numbers): of classes, which of them it is."""
    began, rows, wanted = time.perf_counter(), list[Tensor](), list[Tensor]()
    for batch in batches:
        parts = dict(tensors(batch))
        x, y = parts.get(given), parts.get(target)
        if x is None or y is None or len(x) != len(y) or y.numel() != len(y) or (rows and x.shape[1:] != rows[0].shape[1:]):
            return None
        rows.append(x.detach().float().cpu())
        wanted.append(y.detach().cpu().reshape(len(y)))
        if sum(map(len, rows)) >= _MOST or time.perf_counter() - began > _SECONDS:
            break
    x, y = (torch.cat(each)[:_MOST] for each in (rows, wanted)) if rows else (torch.empty(0), torch.empty(0))
    if len(x) < _FEWEST or not bool(x.isfinite().all()) or not bool(y.isfinite().all()):
        return None
    if y.is_floating_point():
        return x, y.double()[:, None]
    classes = y.unique()
    return (x, torch.stack([y == each for each in classes], dim=1).double()) if 1 < len(classes) <= _MOST_CLASSES else None
