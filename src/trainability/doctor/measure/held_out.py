"""Whether inputs of validation mean what those of training do: values that one part tells, asked of the other."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.facts import Facts
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.measure.running import last_sizes
from trainability.doctor.measure.unknown_words import unknown_words
from trainability.doctor.measure.words import words_compared
from trainability.doctor.pair_facts import ValuesCompared

_MOST_EXAMPLES, _FEWEST_TRAINING, _FEWEST_HELD_OUT = 4000, 300, 100
_MOST_COLUMNS, _MOST_NAMES = 64, 600
_RIDGE = 1.0
_SHIFT, _SPREAD, _KNOWN = 0.5, 2.0, 0.9  # of a column's mean and spread, and of names, that validation shares with training
_EXACT = 1e-4  # mean and spread of a column that were made 0 and 1 of the examples themselves


def with_held_out(facts: Facts | None, train: Iterable[Any], held_out: Iterable[Any] | None, target: str) -> Facts | None:
    """Add to certain facts what training's examples say of validation's: of its values, its texts' classes and their words.

    Also the size of validation's batches, where a batch norm keeps no running statistics.

    Args:
        facts: as they are; None is left so.
        train: loader of training.
        held_out: of validation; None without it.
        target: of a batch, as `tensors` names it; "" where it is unknown.
    """
    if facts is None or held_out is None:
        return facts
    if facts.no_statistics is not None:
        name, own, _ = facts.no_statistics
        facts = replace(facts, no_statistics=(name, own, max(last_sizes(held_out), default=None)))
    if not target:
        return facts
    asked = train, held_out, target
    compared = {"values_compared": values_compared(*asked), "words_compared": words_compared(*asked)}
    return replace(facts, **compared, readings=replace(facts.readings, unknown_words=unknown_words(*asked)))


def values_compared(train: Iterable[Any], held_out: Iterable[Any], target: str) -> ValuesCompared | None:
    """Fit values on training's inputs, and ask about validation's.

    A column of numbers counts with its square; of integers, every name counts by itself. It controls for itself: what was
    fitted must hold for training examples that it was not fitted to, validation's own inputs must tell its own values, and
    inputs must look alike in both.

    Args:
        train: loader, read from its beginning.
        held_out: likewise.
        target: of a batch, as `tensors` names it: one number an example.

    Returns:
        The comparison; None where there are too few examples, inputs are of another kind or look different, or training does
        not tell its own values.
    """
    with randomness_restored(), generators_restored(train), generators_restored(held_out):
        first, second = _read(train, target), _read(held_out, target)
    if first is None or second is None or len(first[1]) < _FEWEST_TRAINING or len(second[1]) < _FEWEST_HELD_OUT:
        return None
    (x, y), (u, v) = first, second
    features = _features(x, u)
    if features is None or not float(y.std()) > 0 or not float(v.std()) > 0:
        return None
    a, b = features
    fit, test = _halves(len(a))
    told = _fitted(a[fit], y[fit])
    known, other = _explained(told(a[test]), y[test]), _explained(told(b), v)
    fit, test = _halves(len(b))
    own = _explained(_fitted(b[fit], v[fit])(b[test]), v[test])
    apart = _is_scaled(x) and _is_scaled(u)
    if _are_in_other_units(y, v, of_scale_alone=apart):
        other = max(other, float(torch.corrcoef(torch.stack([told(b), v]))[0, 1].square()))
    return ValuesCompared(num_examples=len(v), training=known, validation=other, own=own, scaled_apart=apart)


def _read(batches: Iterable[Any], target: str) -> tuple[list[Tensor], Tensor] | None:
    """Tables of inputs and one value an example, of the first examples."""
    parts: list[list[Tensor]] = []
    count = 0
    for found in _tables(batches, target):
        if found is None or (parts and [t.shape[1:] for t in found] != [t.shape[1:] for t in parts[0]]):
            return None
        parts.append(found)
        count += len(found[0])
        if count >= _MOST_EXAMPLES:
            break
    if not parts:
        return None
    *inputs, values = (torch.cat(column)[:_MOST_EXAMPLES] for column in zip(*parts, strict=True))
    return list(inputs), values.double().flatten()


def _tables(batches: Iterable[Any], target: str) -> Iterator[list[Tensor] | None]:
    for batch in batches:
        found = {name: tensor.detach().cpu() for name, tensor in tensors(batch)}
        values = found.pop(target, None)
        inputs = [t[:, None] if t.dim() == 1 else t for t in found.values()]
        is_value = values is not None and values.is_floating_point() and values.dim() > 0 and values.numel() == len(values)
        if not is_value or values is None or not inputs or any(t.dim() != 2 or len(t) != len(values) for t in inputs):
            yield None
            return
        if any(t.is_complex() or t.dtype == torch.bool for t in inputs) or sum(t.shape[1] for t in inputs) > _MOST_COLUMNS:
            yield None
            return
        yield [*inputs, values]


def _features(train: list[Tensor], held_out: list[Tensor]) -> tuple[Tensor, Tensor] | None:
    """Both parts' features, in training's scale; None where validation's inputs are of another range, or other names."""
    columns: list[tuple[Tensor, Tensor]] = []
    for a, b in zip(train, held_out, strict=True):
        for one, other in zip(a.T, b.T, strict=True):
            found = _numbers(one.double(), other.double()) if a.is_floating_point() else _names(one.long(), other.long())
            if found is None:
                return None
            columns.append(found)
    first, second = (torch.cat(part, dim=1) for part in zip(*columns, strict=True))
    finite = bool(first.isfinite().all()) and bool(second.isfinite().all())
    return (first, second) if finite and 0 < first.shape[1] <= _MOST_NAMES else None


def _numbers(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor] | None:
    mean, std = one.mean(), one.std()
    if not float(std) > 0:
        return one.new_zeros(len(one), 0), other.new_zeros(len(other), 0)
    a, b = (one - mean) / std, (other - mean) / std
    is_alike = abs(float(b.mean())) < _SHIFT and 1 / _SPREAD < float(b.std()) < _SPREAD
    return (torch.stack([a, a.square() - 1], dim=1), torch.stack([b, b.square() - 1], dim=1)) if is_alike else None


def _names(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor] | None:
    names = torch.unique(one)
    place = torch.searchsorted(names, other).clamp(max=len(names) - 1)
    known = names[place] == other
    if len(names) > _MOST_NAMES or float(known.double().mean()) < _KNOWN:
        return None
    a = nn.functional.one_hot(torch.searchsorted(names, one), len(names)).double()
    return a, nn.functional.one_hot(place, len(names)).double() * known[:, None]


def _are_in_other_units(values: Tensor, other: Tensor, *, of_scale_alone: bool) -> bool:
    """Whether validation's values are of another scale or level, as where predictions are turned back into the raw units.

    Another level alone also comes of inputs that were scaled apart.
    """
    moved = float((other.mean() - values.mean()).abs()) > _SHIFT * float(values.std())
    return not 1 / _SPREAD < float(other.std() / values.std()) < _SPREAD or (moved and not of_scale_alone)


def _is_scaled(tables: list[Tensor]) -> bool:
    """Whether every column of numbers has the mean 0 and the spread 1, to rounding: of these very examples."""
    columns = [column.double() for table in tables if table.is_floating_point() for column in table.T]
    spreads = [(abs(float(c.mean())), abs(float(c.std(correction=0)) - 1), abs(float(c.std()) - 1)) for c in columns]
    return bool(columns) and all(mean < _EXACT and min(std, sample) < _EXACT for mean, std, sample in spreads)


def _halves(count: int) -> tuple[Tensor, Tensor]:
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))  # loaders may come in order
    return order[: count // 2], order[count // 2 :]


def _fitted(x: Tensor, y: Tensor) -> Any:
    """Ridge regression with a constant."""
    mean, level = x.mean(dim=0), y.mean()
    centred = x - mean
    ridge = _RIDGE * torch.eye(x.shape[1], dtype=x.dtype)
    weights = torch.linalg.solve(centred.T @ centred + ridge, centred.T @ (y - level))
    return lambda part: (part - mean) @ weights + level


def _explained(told: Tensor, values: Tensor) -> float:
    """Share of the variance that is told; below 0 where the mean tells more."""
    return 1 - float((told - values).square().mean() / values.var(correction=0))
