"""Whether the values of a sequence are names that a layer takes for amounts: read off the loader's examples and targets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.filled import read_together
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.word_views import narrowed
from trainability.doctor.readings import NamedValues

_MOST_EXAMPLES, _FEWEST_EXAMPLES, _FEWEST_PLACES = 1000, 300, 8
_FEWEST_VALUES, _MOST_VALUES, _FEWEST_OF_EACH = 32, 2000, 10  # compared values; occurrences of each in half of the examples
_FEWEST_THAT_TELL = 8.0  # values: a few grey levels that stand for something are no names
_MOST_CLASSES = 16
_MOST_NUMBERS, _FEWEST_OF_NUMBER = 3000, 3  # examples of one number each; occurrences of a number in half of them
_MOST_COLUMNS, _MOST_READ = 1024, 40_000_000  # of an example's targets; values that are read
_ALONG, _SHARED = 0.2, 0.4  # rank correlation of neighbouring places; places that have a value, of those that might
_SHUFFLES, _ORDERS, _RARE = 99, 199, 0.99
_SURE = 8.0  # standard deviations above shuffled targets
_LIKE_NEIGHBOURS = 0.35  # of amounts it is nearly 1
_TOLD, _OF_SIZES, _RANGES, _RIDGE = 0.2, 0.5, 8, 1.0


def named_values(seen: ForwardPass, batches: Iterable[Any]) -> NamedValues | None:
    """Compare what each value of a sequence says of the target with what its neighbours in size say.

    Of amounts (counts, ages, grey levels, sound), values that are close say nearly the same of the target. Of names (words,
    opcodes, letters) the order of the numbers means nothing: neighbours are no more alike than any two values. Anything
    regular in that order, such as a period of the numbers, is taken for a sign of amounts; so is a sequence whose neighbouring
    places hold numbers of about the same size.

    Args:
        seen: a pass with a batch of the loader, which knows what goes into a layer as it is and is looked up nowhere.
        batches: of the training loader.

    Returns:
        The comparison, if the values are names. None of amounts, of what is not certain, and where a batch holds something
        else, such as a table whose columns have values of their own.
    """
    for tensor, layer in seen.taken_as_numbers():
        place = next(name for name, own in seen.batch if own is tensor)
        target = target_beside(seen, place)
        rows = read_together(batches, [place, target], most=_MOST_EXAMPLES) if target is not None else None
        if rows is None or target is None:
            continue
        found = compared(rows[place], rows[target]) or compared_places(rows[place], rows[target])
        if found is not None:
            return replace(found, place=place, layer=layer)
    return None


def named_numbers(seen: ForwardPass, batches: Iterable[Any]) -> NamedValues | None:
    """As `named_values`, of one whole number an example, such as the number of a product or of a speaker.

    Targets may be of any size, such as images. Nothing is found where a function makes something else of the number before a
    layer takes it (a sine, a remainder, its bits), as that may be an embedding by hand, or behind the layer, as a sine.
    """
    for tensor, layer in seen.columns_taken_as_numbers() if not seen.takes_sine else ():
        place = next(name for name, own in seen.batch if own is tensor)
        wanted = [seen.against[1] if seen.against is not None else None, seen.marks]
        asked = [name for name, own in seen.batch if any(own is each for each in wanted)]
        target = asked[0] if asked else target_beside(seen, place)
        if target is None or target == place:
            continue
        size = next(own[0].numel() for name, own in seen.batch if name == target)
        rows = read_together(batches, [place, target], most=min(_MOST_NUMBERS, _MOST_READ // max(size, 1)))
        found = compared_numbers(rows[place], rows[target]) if rows is not None else None
        if found is not None:
            return replace(found, place=place, layer=layer)
    return None


def target_beside(seen: ForwardPass, place: str) -> str | None:
    """The place of the target in a batch of a pass, beside the input at a place; None where it is not known."""
    target, others = seen.target(), [name for name, _ in seen.batch if name != place]
    found = [name for name, own in seen.batch if own is target and name != place]
    return found[0] if found else others[0] if len(others) == 1 else None


def compared(sequences: Tensor, targets: Tensor) -> NamedValues | None:
    """The comparison itself, without a place and a layer.

    Args:
        sequences: (examples, places), perhaps with a dimension of size 1 more.
        targets: one class or number an example, or a few numbers.
    """
    x, y = sequences.flatten(1), _columns(targets)
    return _of_halves(x, y, _FEWEST_OF_EACH) if x.shape[1] >= _FEWEST_PLACES and y is not None else None


def compared_places(sequences: Tensor, targets: Tensor) -> NamedValues | None:
    """The comparison of sequences with one class for each place, as of a tagger: each place is an example.

    Args:
        sequences: (examples, places), perhaps with a dimension of size 1 more.
        targets: (examples, places) of classes.
    """
    x = sequences.reshape(len(sequences), -1)
    if targets.is_floating_point() or targets.shape != x.shape or x.shape[1] < _FEWEST_PLACES:
        return None
    keeps = (targets >= 0) & (x != 0)  # padding, on either side
    if not bool(keeps.any()) or follows_along(middle_ranks(x), keeps=keeps):
        return None
    order = torch.randperm(int(keeps.sum()), generator=torch.Generator().manual_seed(0))[:_MOST_NUMBERS]
    return compared_numbers(x[keeps][order], targets[keeps][order])


def compared_numbers(numbers: Tensor, targets: Tensor) -> NamedValues | None:
    """The comparison of one number an example.

    Args:
        numbers: (examples,) or (examples, 1).
        targets: (examples, ...): a class or a number each, or many, of which sums with random signs are compared.
    """
    if targets[0].numel() > _MOST_CLASSES:
        if not (targets.is_floating_point() or targets.dtype == torch.bool or int(targets.max() - targets.min()) <= 1):
            return None  # words: their numbers are no amounts
        wide = _standardised(narrowed(targets.float().flatten(1), _MOST_COLUMNS).double())
        if wide is None:
            return None
        signs = torch.randint(2, (wide.shape[1], _MOST_CLASSES), generator=torch.Generator().manual_seed(0)).double() * 2 - 1
        targets = wide @ signs
    y = _columns(targets)
    return _of_halves(numbers.reshape(len(numbers), 1), y, _FEWEST_OF_NUMBER) if y is not None else None


def _of_halves(x: Tensor, y: Tensor, fewest: int) -> NamedValues | None:
    """The comparison of values that occur so often in each half of the examples; `x` is (examples, places)."""
    if len(x) < _FEWEST_EXAMPLES or not bool(x.isfinite().all()):
        return None
    values, index, counts = x.unique(return_inverse=True, return_counts=True)
    if not _FEWEST_VALUES <= len(values) <= _MOST_VALUES:
        return None
    middles = (counts.cumsum(0) - counts / 2) / counts.sum()
    occurs = torch.zeros(len(x), len(values)).scatter_add_(1, index, torch.ones(x.shape))
    halves = _halves(len(x))
    kept = torch.stack([occurs[half].sum(dim=0) for half in halves]).amin(dim=0) >= fewest
    kept[counts.argmax()] = False  # padding, or a background
    if int(kept.sum()) < _FEWEST_VALUES or follows_along(middles[index]) or not _is_shared(index, kept):
        return None
    said, z = _what_each_says(occurs[:, kept], y, halves)
    telling = (said[0] * said[1]).sum(dim=1).clamp(min=0)
    if z < _SURE or float(telling.sum().square() / telling.square().sum().clamp(min=1e-12)) < _FEWEST_THAT_TELL:
        return None
    like = _like_neighbours(*said)
    ranges = (middles * _RANGES).long().clamp(max=_RANGES - 1)
    by_name = _told(occurs, y, halves)
    by_size = max(_told(part, y, halves) for part in _sizes(x.float(), ranges[index]))
    if like is None or like >= _LIKE_NEIGHBOURS or by_name < _TOLD or by_size > _OF_SIZES * by_name:
        return None
    return NamedValues(
        num_examples=len(x),
        num_values=int(kept.sum()),
        z=z,
        like_neighbours=like,
        told_by_name=by_name,
        told_by_size=by_size,
    )


def _columns(targets: Tensor) -> Tensor | None:
    """Standardised columns: of classes, one each."""
    if targets.is_complex() or targets.numel() == 0:
        return None
    y = targets.reshape(len(targets), -1)
    if y.shape[1] == 1 and not targets.is_floating_point():
        classes = y[:, 0].unique(return_inverse=True)[1]
        y = nn.functional.one_hot(classes) if int(classes.max()) < _MOST_CLASSES else y
    if y.shape[1] > _MOST_CLASSES:
        return None
    return _standardised(y.double())


def _standardised(y: Tensor) -> Tensor | None:
    """The columns that vary."""
    y = y.nan_to_num(0.0, 0.0, 0.0)
    spread = y.std(dim=0)
    kept = spread > 1e-9
    return (y[:, kept] - y.mean(dim=0)[kept]) / spread[kept] if bool(kept.any()) else None


def _halves(count: int) -> tuple[Tensor, Tensor]:
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return order[: count // 2], order[count // 2 :]


def follows_along(ranks: Tensor, most: float = _ALONG, keeps: Tensor | None = None) -> bool:
    """Whether neighbouring places hold numbers of about the same size, or of opposite ones, as of a signal.

    Args:
        ranks: (examples, places), of the numbers among all.
        most: correlation of neighbours above which they do.
        keeps: (examples, places), False for padding.
    """
    keeps = torch.ones_like(ranks, dtype=torch.bool) if keeps is None else keeps
    ranks = ranks - ranks[keeps].mean()
    both = keeps[:, 1:] & keeps[:, :-1]
    return abs(float((ranks[:, 1:] * ranks[:, :-1])[both].mean() / ranks[keeps].square().mean())) > most


def middle_ranks(x: Tensor) -> Tensor:
    """The rank of each number among all, from 0 to 1; of equal numbers, the middle of theirs."""
    _, index, counts = x.unique(return_inverse=True, return_counts=True)
    return ((counts.cumsum(0) - counts / 2) / counts.sum())[index]


def _is_shared(index: Tensor, kept: Tensor) -> bool:
    """Whether each value occurs at many places: columns of a table have values of their own."""
    num_places, num_values = index.shape[1], len(kept)
    pairs = (index + num_values * torch.arange(num_places)).unique().remainder(num_values)
    seen = torch.bincount(pairs, minlength=num_values)[kept].double()
    times = torch.bincount(index.flatten(), minlength=num_values)[kept].double()
    expected = num_places * (1 - (1 - 1 / num_places) ** times)
    return float(seen.sum() / expected.sum()) > _SHARED


def _what_each_says(occurs: Tensor, y: Tensor, halves: tuple[Tensor, Tensor]) -> tuple[tuple[Tensor, Tensor], float]:
    """Mean targets of the examples where a value occurs, in standard errors: (values, columns), in either half.

    Also by how many standard deviations they agree better than with shuffled targets.
    """
    rng = torch.Generator().manual_seed(0)
    orders = [torch.arange(len(y)), *(torch.randperm(len(y), generator=rng) for _ in range(_SHUFFLES))]
    shuffled = torch.cat([y[order] for order in orders], dim=1)
    total = occurs.sum(dim=0).double()
    # What is frequent is known better, but is one value among others.
    weight = (2 * total.median() / total).clamp(max=1.0).sqrt()
    sums = []
    for half in halves:
        part = occurs[half].double()
        z = (part.T @ shuffled[half] / part.sum(dim=0)[:, None].sqrt()) * weight[:, None]
        sums.append((z - z.mean(dim=0)).unflatten(1, (len(orders), -1)))
    agree = (sums[0] * sums[1]).sum(dim=(0, 2))
    z = float((agree[0] - agree[1:].mean()) / agree[1:].std().clamp(min=1e-12))
    return (sums[0][:, 0], sums[1][:, 0]), z


def _like_neighbours(first: Tensor, second: Tensor) -> float | None:
    """How like the next values in size are: 1 of equals, 0 as two at random; None where sizes are in a plain order.

    The halves' errors are independent of each other, so that errors do not make neighbours less alike.
    """
    own = float((first * second).sum())
    count = len(first)
    near = max(1, count // 32)

    def likeness(order: Tensor) -> Tensor:
        a, b = (torch.fft.rfft(part[order], n=2 * count, dim=0) for part in (first, second))
        shifted = torch.fft.irfft((a.conj() * b).sum(dim=1), n=2 * count)
        lags = torch.arange(1, count // 2 + 1)
        return (shifted[lags] + shifted[-lags]) / 2 * count / (count - lags) / own

    rng = torch.Generator().manual_seed(0)
    found = likeness(torch.arange(count))
    others = torch.stack([likeness(torch.randperm(count, generator=rng)) for _ in range(_ORDERS)])
    mean, spread = others.mean(dim=0), others.std(dim=0).clamp(min=1e-12)
    furthest = ((others - mean) / spread).abs().amax(dim=1).quantile(_RARE)
    by_range = others[:, :near].mean(dim=1)
    is_plain = float(((found - mean) / spread).abs().max()) > float(furthest)
    is_plain |= float((found[:near].mean() - by_range.mean()).abs()) > 2 * float(by_range.std())
    return None if is_plain else float(found[:near].mean() + 2 * by_range.std())


def _sizes(x: Tensor, ranges: Tensor) -> tuple[Tensor, Tensor]:
    """What an example's numbers say as amounts: how many lie in each range, and their moments."""
    counts = torch.zeros(len(x), _RANGES).scatter_add_(1, ranges, torch.ones(x.shape))
    z = (x - x.mean()) / x.std().clamp(min=1e-12)
    moments = torch.stack([z.mean(dim=1), z.square().mean(dim=1), z.amax(dim=1), z.amin(dim=1)], dim=1)
    return torch.cat([counts, moments], dim=1), z


def _told(features: Tensor, y: Tensor, halves: tuple[Tensor, Tensor]) -> float:
    """Share of the variance of one half's targets that ridge regression explains, fitted on the other half."""
    fit, test = halves
    spread = features.std(dim=0)
    x = ((features - features.mean(dim=0))[:, spread > 1e-6] / spread[spread > 1e-6]).double()
    kernel = x @ x[fit].T / max(x.shape[1], 1)
    level = y[fit].mean(dim=0)
    weights = torch.linalg.solve(kernel[fit] + _RIDGE * torch.eye(len(fit), dtype=kernel.dtype), y[fit] - level)
    left = y[test] - level - kernel[test] @ weights
    return 1 - float(left.square().mean() / (y[test] - y[test].mean(dim=0)).square().mean().clamp(min=1e-12))
