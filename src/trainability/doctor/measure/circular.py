"""Targets that go around, as angles do, under a loss that takes their two ends to be far apart."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.batches import tensors
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.other_targets import OtherTargets
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.measure.word_views import narrowed
from trainability.doctor.readings import MOST_GAP, Circular

FEWEST, _MOST, _SECONDS = 300, 2000, 1.5  # examples; for reading
_MOST_TARGETS, _FEWEST_VALUES, _FEWEST_IN_BATCH = 8, 30, 4  # columns; different numbers in one
_MOST_COLUMNS, _MOST_SIDE, _MOST_VALUES = 256, 16, 60_000_000  # of inputs
_FEWEST_NEAR, _NEAR_OF = 12, 100  # neighbours of an example: twelve, or a hundredth of all
_QUARTER, _FIFTHS, _PARTS = 0.25, 5, 20  # of the way around: neighbours beyond are astray
MOST_ASTRAY, _MOST_OF_FIFTH = 0.15, 0.3  # of all neighbours, and of a fifth of the examples; 0.5 by chance
_NO_GAP, _TIMES = 0.1, 3.0  # between inputs of the two ends: always allowed; times the widest gap between others that follow
_MOST_ELSEWHERE = 1.4  # between a part and the second next, over half-way around; 1.8 and more where a line is open there
_APART = 1.15  # half-way around, over within a part
_LEAST_ON = 0.35  # from the last part but one to the first, over others; 0.5 and more of circles, to 0.2 where ends fade
_FEATURES, _RIDGE, _EITHER_END = 200, 1e-2, 20  # of a smooth function of the inputs; one in so many examples is at an end
_LEAST_MISTAKEN = 0.1  # of the examples at both ends; 0.15 and more of circles, to 0.01 where inputs tell the ends apart
_LEAST_IN_FIFTH, _TAIL = 0.04, 0.005  # of the examples, in a fifth of the range; beyond the range, at either end
Forward = Callable[[Any, Any], Tensor]


def circular(model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass, batches: Iterable[Any]) -> Circular | None:
    """Look for a column of targets whose largest and smallest numbers are neighbours, and ask what the loss makes of that.

    Args:
        model: runs as it is.
        batch: holds the targets, which the model is not given, examples first.
        forward: of (model, batch), the loss.
        seen: the same pass.
        batches: the training loader, of which up to 2,000 examples are read.

    Returns:
        None of other losses than a squared, absolute or Huber error of the numbers, and where no target goes around.
    """
    for place, target in seen.batch:
        if not _may_go_around(target, seen):
            continue
        ask = OtherTargets(model, batch, forward, target)
        if not ask.goes_apart():
            continue
        with randomness_restored(), generators_restored(batches):
            read = _read(batches, place)
        if read is None:
            return None
        for column, found in enumerate(goes_around(*read)):
            if found is not None and ask.is_distance(column, found.around):
                return _as_reading(found, len(read[1]), column if read[1].shape[1] > 1 else None)
    return None


def circular_pairs(pairs: Sequence[tuple[Tensor, Tensor]]) -> Circular | None:
    """The same, of inputs and targets that were kept, where the loss is known to be on a line."""
    if any(not y.is_floating_point() or y.numel() != len(y) or not _is_input(x, len(y)) for x, y in pairs):
        return None
    inputs = torch.cat([_flat(x) for x, _ in pairs])[:_MOST]
    targets = torch.cat([y.double().cpu().reshape(len(y), 1) for _, y in pairs])[:_MOST]
    found = goes_around(inputs, targets)[0]
    return _as_reading(found, len(targets), None) if found is not None else None


def _as_reading(found: Around, examples: int, column: int | None) -> Circular:
    return Circular(examples=examples, column=column, around=found.around, gap=found.gap, astray=found.astray)


def _may_go_around(target: Tensor, seen: ForwardPass) -> bool:
    if not target.is_floating_point() or target.dim() not in (1, 2) or not 1 <= target[:1].numel() <= _MOST_TARGETS:
        return False
    shown = {t.data_ptr() for _, t in tensors(seen.inputs)}
    others = [t for _, t in seen.batch if t is not target and _is_input(t, len(target))]
    return bool(others) and target.data_ptr() not in shown and len(target.detach().unique()) >= _FEWEST_IN_BATCH


def _is_input(t: Tensor, rows: int) -> bool:
    """Whether distances mean something: of numbers, and of the bytes of images."""
    is_plain = t.layout == torch.strided and t.dim() > 0 and t.numel() > 0
    return is_plain and len(t) == rows and (t.is_floating_point() or t.dtype in (torch.bool, torch.uint8))


def _read(batches: Iterable[Any], place: str) -> tuple[Tensor, Tensor] | None:
    """Inputs (examples, columns), and targets (examples, numbers), of the first batches."""
    began, inputs, targets, num = time.perf_counter(), list[Tensor](), list[Tensor](), 0
    for batch in batches:
        named = dict(tensors(batch))
        target = named.pop(place, None)
        if target is None or not target.is_floating_point() or target.dim() not in (1, 2):
            return None
        given = [t.detach() for t in named.values() if _is_input(t, len(target))]
        if not given:
            return None
        inputs.append(torch.cat([_flat(t) for t in given], dim=1))
        targets.append(target.detach().double().cpu().reshape(len(target), -1))
        num += len(target)
        if num >= _MOST or num * inputs[-1].shape[1] >= _MOST_VALUES or time.perf_counter() - began > _SECONDS:
            break
    if num < FEWEST or len({(x.shape[1], y.shape[1]) for x, y in zip(inputs, targets, strict=True)}) != 1:
        return None
    return torch.cat(inputs)[:_MOST], torch.cat(targets)[:_MOST]


def _flat(t: Tensor) -> Tensor:
    t = t.float().cpu()
    if t.dim() == 4:  # of images, what neighbouring pixels have in common
        t = F.adaptive_avg_pool2d(t, (min(_MOST_SIDE, t.shape[2]), min(_MOST_SIDE, t.shape[3])))
    return narrowed(t.reshape(len(t), -1), _MOST_COLUMNS)


@dataclass(frozen=True, kw_only=True)
class Around:
    """What was measured of one column of targets that goes around; see `readings.Circular`."""

    around: float
    gap: float
    astray: float


def goes_around(inputs: Tensor, targets: Tensor) -> list[Around | None]:
    """Ask of each column of targets whether its order closes to a circle among examples whose inputs are alike.

    Examples are put on a circle by the rank of their target. Where targets go around, neighbours by their inputs lie near each
    other on it everywhere, and inputs of the largest and of the smallest targets are as near as those of others that follow
    each other. Of a line, the two ends lie apart; where inputs say little, or tell a size and not its sign, neighbours lie
    anywhere; where a line has one jump, from its largest value to its smallest, it is open at another place. Inputs that
    fade out at both ends are alike and come to rest there, those of a circle go on; and where few columns tell two ends apart
    whose other columns are alike, a smooth function of the inputs, fitted to other examples, knows which end is which.

    Args:
        inputs: (examples, columns).
        targets: (examples, numbers).

    Returns:
        For each column, None where it does not go around.
    """
    kept = inputs.isfinite().all(dim=1) & targets.isfinite().all(dim=1)
    inputs, targets = inputs[kept].float(), targets[kept].double()
    columns = list(targets.T)
    even = [_is_even(y) for y in columns]
    if not any(even):
        return [None] * len(columns)
    spread = inputs.std(dim=0)
    varied = spread > 1e-6 * inputs.abs().amax(dim=0).clamp(min=1e-12)
    inputs = (inputs[:, varied] - inputs[:, varied].mean(dim=0)) / spread[varied]
    if not inputs.shape[1]:
        return [None] * len(columns)
    apart = torch.cdist(inputs, inputs)
    apart[apart <= 1e-3 * float(apart.median())] = torch.inf  # itself, and the same example, drawn again
    near = apart.topk(max(_FEWEST_NEAR, len(inputs) // _NEAR_OF), largest=False).indices
    found = [_closed(y, apart, near) if is_even else None for y, is_even in zip(columns, even, strict=True)]
    return [
        each if each is not None and _mistaken(inputs, y) >= _LEAST_MISTAKEN else None
        for each, y in zip(found, columns, strict=True)
    ]


def _is_even(y: Tensor) -> bool:
    """Whether targets are many numbers, some everywhere between their ends: no classes, no clusters, no long tail."""
    if len(y) < FEWEST or len(y.unique()) <= _FEWEST_VALUES:
        return False
    low, high = _ends(y)
    if not high > low:
        return False
    places = ((y - low) / (high - low) * _FIFTHS).long().clamp(0, _FIFTHS - 1)
    return float(places.bincount(minlength=_FIFTHS).min()) >= _LEAST_IN_FIFTH * len(y)


def _ends(y: Tensor) -> tuple[float, float]:
    low, high = y.quantile(torch.tensor([_TAIL, 1 - _TAIL], dtype=y.dtype)).tolist()
    return low, high


def _closed(y: Tensor, apart: Tensor, near: Tensor) -> Around | None:
    _, places, counts = y.unique(return_inverse=True, return_counts=True)
    ranks = ((counts.cumsum(0) - counts / 2) / len(y))[places]  # from 0 to 1, in the middle of equal ones
    far = ((ranks[near] - ranks[:, None] + 0.5) % 1 - 0.5).abs() > _QUARTER
    fifth = (ranks * _FIFTHS).long().clamp(0, _FIFTHS - 1)
    astray = float(far.float().mean())
    if astray > MOST_ASTRAY or max(float(far[fifth == i].float().mean()) for i in range(_FIFTHS)) > _MOST_OF_FIFTH:
        return None
    between, floor = _between(y, apart)
    opposite = float(_along(between, _PARTS // 2).median())
    if not opposite > _APART * floor:
        return None
    following, second = ((_along(between, by) - floor) / (opposite - floor) for by in (1, 2))
    gap = float(following[-1])
    if float(second[-2:].min()) < _LEAST_ON * float(second[:-2].median()):
        return None
    if gap > min(MOST_GAP, max(_NO_GAP, _TIMES * float(following[:-1].max()))) or float(second.max()) > _MOST_ELSEWHERE:
        return None
    low, high = _ends(y)
    return Around(around=(high - low) / (1 - 2 * _TAIL), gap=gap, astray=astray)


def _between(y: Tensor, apart: Tensor) -> tuple[Tensor, float]:
    """How far examples of each twentieth, by their targets, are from the nearest of each other; and within one, as a rule."""
    order, each = y.argsort(), len(y) // _PARTS
    order = order[: _PARTS * each]
    sorted_rows = apart[order][:, order].reshape(_PARTS, each, _PARTS, each)
    nearest = sorted_rows.amin(dim=3).median(dim=1).values
    nearest = (nearest + nearest.T) / 2
    return nearest, float(nearest.diagonal().median())


def _along(between: Tensor, by: int) -> Tensor:
    """Of each part and the one so many further on; behind the last comes the first."""
    parts = torch.arange(len(between))
    return between[parts, (parts + by) % len(between)]


def _mistaken(inputs: Tensor, y: Tensor) -> float:
    """Share of the outermost targets that a function of the inputs, fitted to other examples, misses by a quarter of the range.

    A ridge regression on the inputs and fixed random ReLUs of them: smooth, so it needs a clear difference to jump.
    """
    drawn = torch.Generator().manual_seed(0)
    weights = torch.randn(inputs.shape[1], _FEATURES, generator=drawn) / inputs.shape[1] ** 0.5
    hidden = (inputs @ weights + torch.randn(_FEATURES, generator=drawn)).relu()
    x = torch.cat([inputs, hidden, torch.ones(len(inputs), 1)], dim=1).double()
    is_first = torch.zeros(len(x), dtype=torch.bool)
    is_first[torch.randperm(len(x), generator=drawn)[::2]] = True
    answers, mean = torch.zeros_like(y), y.mean()
    for fitted in (is_first, ~is_first):
        ridge = _RIDGE * int(fitted.sum()) * torch.eye(x.shape[1], dtype=x.dtype)
        slopes = torch.linalg.solve(x[fitted].T @ x[fitted] + ridge, x[fitted].T @ (y[fitted] - mean))
        answers[~fitted] = x[~fitted] @ slopes + mean
    low, high = _ends(y)
    order, each = y.argsort(), len(y) // _EITHER_END
    outer = torch.cat([order[:each], order[-each:]])
    return float(((answers - y)[outer].abs() > _QUARTER * (high - low)).float().mean())
