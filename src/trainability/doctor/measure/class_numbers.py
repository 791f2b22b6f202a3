"""Numbers of classes under a loss that takes a class to lie between its two neighbours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.batches import tensors
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.other_targets import OtherTargets
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.measure.word_views import narrowed
from trainability.doctor.readings import LEAST_CLEAR, LEAST_UNORDERED, ClassNumbers

_FEWEST_CLASSES, _MOST_CLASSES = 5, 64  # of four, six distances tell no order
_FEWEST_EACH, _FEWEST, _MOST, _SECONDS = 8, 200, 4000, 1.5  # examples of a class, and in all; for reading
_MOST_COLUMNS, _MOST_VALUES = 256, 60_000_000
_PARTS, _SHUFFLES = 2, 400  # halves of the examples, in both of which distances are measured
Forward = Callable[[Any, Any], Tensor]


def class_numbers(
    model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass, batches: Iterable[Any]
) -> ClassNumbers | None:
    """Look for whole numbers as targets of a distance, of which those that follow each other have no more in common.

    Args:
        model: runs as it is.
        batch: holds the targets, which the model is not given, examples first.
        forward: of (model, batch), the loss.
        seen: the same pass.
        batches: the training loader, of which up to 4,000 examples are read.

    Returns:
        None of other losses than a squared, absolute or Huber error of the numbers, where there are fewer than five of them,
        and where inputs of neighbouring numbers are more alike than others.
    """
    shown = {t.data_ptr() for _, t in tensors(seen.inputs)}
    for place, target in seen.batch:
        if not _are_whole(target) or target.data_ptr() in shown:
            continue
        if not OtherTargets(model, batch, forward, target).is_distance(None, float(target.amax() - target.amin())):
            continue
        with randomness_restored(), generators_restored(batches):
            read = _read(batches, place)
        return without_order(*read) if read is not None else None
    return None


def class_numbers_of_pairs(pairs: Sequence[tuple[Tensor, Tensor]]) -> ClassNumbers | None:
    """The same, of inputs and targets that were kept, where the loss is known to be on a line."""
    if any(not _are_whole(y) or y.numel() != len(y) or not x.is_floating_point() or x.dim() < 2 for x, y in pairs):
        return None
    inputs, targets = (torch.cat([t.float().cpu() for t in part])[:_MOST] for part in zip(*pairs, strict=True))
    return without_order(inputs, targets.reshape(len(targets)).long()) if len(targets) >= _FEWEST else None


def _are_whole(target: Tensor) -> bool:
    """Whether a tensor may hold numbers of classes: one an example, or one for each of its parts, such as nodes."""
    if target.layout != torch.strided or target.is_complex() or target.dtype == torch.bool:
        return False
    if not 1 <= target.dim() <= 3 or target.numel() < _FEWEST_CLASSES:
        return False
    is_whole = bool((target == target.round()).all()) if target.is_floating_point() else True
    return is_whole and float(target.amin()) >= 0 and 2 <= float(target.amax()) < _MOST_CLASSES


def _read(batches: Iterable[Any], place: str) -> tuple[Tensor, Tensor] | None:
    """Inputs (examples, ...) and numbers (examples,) of the first batches; of parts, each is an example."""
    began, inputs, targets, num = time.perf_counter(), list[Tensor](), list[Tensor](), 0
    for batch in batches:
        named = dict(tensors(batch))
        target = named.pop(place, None)
        if target is None or not _are_whole(target):
            return None
        given = [t for t in named.values() if t.is_floating_point() and t.shape[: target.dim()] == target.shape]
        if len(given) != 1:
            return None
        inputs.append(given[0].detach().float().cpu().flatten(0, target.dim() - 1))
        targets.append(target.detach().long().cpu().flatten())
        num += target.numel()
        if num >= _MOST or num * inputs[-1][0].numel() >= _MOST_VALUES or time.perf_counter() - began > _SECONDS:
            break
    if num < _FEWEST or len({x.shape[1:] for x in inputs}) != 1 or inputs[0].dim() < 2:
        return None
    return torch.cat(inputs)[:_MOST], torch.cat(targets)[:_MOST]


def without_order(inputs: Tensor, targets: Tensor) -> ClassNumbers | None:
    """Ask whether classes whose numbers follow each other are no more alike than others, by the means of their inputs.

    Distances between classes are measured in each half of the examples; where both halves agree on them, they are those of the
    classes. An amount, a count, a grade, a place or a frequency shows its order in one of the views: values, their neighbours'
    means, sums so far, spectra.

    Args:
        inputs: (examples, ...) float.
        targets: (examples,) whole numbers.

    Returns:
        None where there are fewer than five classes of eight examples, where the classes are not told apart by their means, and
        where in any view the distances grow with the numbers' differences, or are small from each number to the next.
    """
    kept = inputs.flatten(1).isfinite().all(dim=1)
    inputs, targets = inputs[kept], targets[kept]
    values, places, counts = targets.unique(return_inverse=True, return_counts=True)
    if len(values) < _FEWEST_CLASSES or len(values) > _MOST_CLASSES or int(counts.min()) < _FEWEST_EACH:
        return None
    orders = _orders(torch.arange(len(values)).double())
    clear, least = 0.0, 1.0
    for view in _views(inputs):
        agreement, share = _asked(view, places, len(values), orders)
        if agreement is None:
            continue
        if share < LEAST_UNORDERED:
            return None
        clear, least = max(clear, agreement), min(least, share)
    return (
        ClassNumbers(classes=len(values), examples=len(targets), clear=clear, ordered=least) if clear >= LEAST_CLEAR else None
    )


def _orders(values: Tensor) -> Tensor:
    """Differences of places in the order for each pair, first of the numbers', then of shuffled ones: (1 + shuffles, pairs)."""
    rng = torch.Generator().manual_seed(0)
    first, second = torch.triu_indices(len(values), len(values), offset=1)
    shuffled = [torch.randperm(len(values), generator=rng) for _ in range(_SHUFFLES)]
    return torch.stack([(values[o][first] - values[o][second]).abs() for o in (torch.arange(len(values)), *shuffled)])


def _asked(view: Tensor, places: Tensor, classes: int, orders: Tensor) -> tuple[float | None, float]:
    """How well two halves agree on the distances, and how many shuffled orders go with them as well."""
    spread = view.std(dim=0, correction=0)
    varied = spread > 1e-6 * view.abs().amax(dim=0).clamp(min=1e-12)
    if not bool(varied.any()):
        return None, 1.0
    columns = ((view[:, varied] - view[:, varied].mean(dim=0)) / spread[varied]).double()
    first, second = torch.triu_indices(classes, classes, offset=1)
    means = []
    halves = torch.arange(len(places)) % _PARTS
    for part in range(_PARTS):
        own = F.one_hot(places[halves == part], classes).double()
        means.append((own.T @ columns[halves == part]) / own.sum(dim=0).clamp(min=1.0)[:, None])
    one, other = ((m[first] - m[second]).norm(dim=1) for m in means)
    agreement = _correlation(one[None], other)[0]
    far = _correlation(orders, one + other)  # the farther numbers are apart, the farther are the classes
    steps = -(((orders == 1.0) * (one + other)).sum(dim=1))  # from each class to the next it is not far
    return float(agreement), min(float((fit[1:] >= fit[0]).double().mean()) for fit in (far, steps))


def _correlation(rows: Tensor, other: Tensor) -> Tensor:
    rows, other = rows - rows.mean(dim=1, keepdim=True), other - other.mean()
    return (rows @ other) / (rows.norm(dim=1) * other.norm()).clamp(min=1e-12)


def _views(inputs: Tensor) -> list[Tensor]:
    """Values, their means over neighbours, sums so far along each axis, and spectra: an order shows in one of them."""
    x = inputs
    if x.dim() == 4 and min(x.shape[-2:]) > 1:
        x = F.adaptive_avg_pool2d(x, (min(16, x.shape[2]), min(16, x.shape[3])))
        spectrum = torch.fft.rfft2(x).abs()
        views = [x, F.adaptive_avg_pool2d(x, 4), x.cumsum(dim=2), x.cumsum(dim=3), spectrum, spectrum.cumsum(dim=2)]
        views += [spectrum.cumsum(dim=3)]
    else:
        x = x.reshape(len(x), -1) if x.dim() != 3 else x
        spectrum = torch.fft.rfft(x, dim=1).abs()
        views = [x, x.cumsum(dim=1), spectrum, spectrum.cumsum(dim=1)]
        views += [x.cumsum(dim=2)] if x.dim() == 3 else []
    sizes = torch.stack([x.flatten(1).mean(dim=1), x.flatten(1).abs().mean(dim=1), x.flatten(1).std(dim=1, correction=0)], 1)
    return [narrowed(view.flatten(1), _MOST_COLUMNS) for view in views] + [sizes]
