"""Images that are mirrored at random beside targets that stay as they are, though targets tell one side from the other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset

from trainability.doctor.batches import tensors
from trainability.doctor.facts import Facts
from trainability.doctor.measure.exchanged_classes import exchanged_classes
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.readings import ExchangedClasses

_FEWEST, _MOST = 64, 256  # examples
_MOST_READ, _MOST_VALUES = 512, 2**25  # of a pass through a loader: images, and their numbers
_FEWEST_TURNED = 8  # images of a loader that are met again, mirrored
_EXACT = 1e-4  # difference of an image and one that is met again, over the largest value
_DRAWS = 3
_MIRRORED = 0.1  # share of the draws
_NEARER = 0.25  # squared distance to the mirror image, over that to the image itself
_TELLS = 0.95  # of examples: symmetric images are the same when they are mirrored
_MOST_NUMBERS = 64  # of a target that is a list of numbers: boxes, points
_LEAST_SIDE = 8  # of a target that is an image
_RIDGE = 1e-2  # of the features' variance, which is 1
_TOLD = 0.3  # share of the variance of a number of the targets
_AXES = ((-1, "left and right"), (-2, "top and bottom"))

Batch = dict[str, Tensor]


def mirrored_alone(loader: Any) -> tuple[str, str, float] | None:
    """Make the same examples into batches several times, and look which of their parts are mirrored.

    Args:
        loader: a torch DataLoader over a data set with indices, whose examples are the same each time, and a `collate_fn` that
            augments them.

    Returns:
        What is exchanged ("left and right", "top and bottom"), the place of the targets in the batch, and the share of the
        variance of one of their numbers that the difference of the two sides of the images explains before they are augmented,
        held out. None where no image is mirrored, targets change with them, or do not tell the sides apart.
    """
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset) or loader.collate_fn is None:
        return None
    count = min(_MOST, len(loader.dataset))  # type: ignore[arg-type]
    if count < _FEWEST:
        return None
    with randomness_restored(), generators_restored(loader), contextlib.suppress(Exception):  # of a collate_fn for fewer
        examples = [loader.dataset[k * len(loader.dataset) // count] for k in range(count)]  # type: ignore[arg-type]
        plain = _stacked(examples)
        drawn = [dict(_detached(loader.collate_fn(examples))) for _ in range(_DRAWS)]
        return _alone(plain, drawn)
    return None


def mirrored_when_read(loader: Any, held_out: Any) -> tuple[str, str, float] | ExchangedClasses | None:
    """The same of a data set that augments its examples: read several times, beside validation, which is the same each time.

    Args:
        loader: of training; over a data set with indices, or any that mirrors its batches.
        held_out: of validation, likewise.

    Returns:
        As `mirrored_alone`; validation, whose images stand as they were taken, tells whether targets tell the sides apart. Of
        labels, two classes of it that are each other's mirror image; of a loader that mirrors by itself, only these.
    """
    loaders = [loader, held_out]
    if any(not isinstance(one, DataLoader) or isinstance(one.dataset, IterableDataset) for one in loaders):
        with randomness_restored(), generators_restored(loader), generators_restored(held_out), contextlib.suppress(Exception):
            # The second pass goes on with the random numbers where the first has stopped.
            return _exchanged_in_batches(_joined(held_out, _MOST), _joined(loader, _MOST_READ), _joined(loader, _MOST_READ))
        return None
    with randomness_restored(), generators_restored(loader), generators_restored(held_out), contextlib.suppress(Exception):
        plain = _read(held_out)
        drawn = [_read(loader) for _ in range(_DRAWS + 1)]
        if plain is None or any(each is None for each in drawn):
            return None
        if any(not torch.equal(t, again) for t, again in zip(plain.values(), (_read(held_out) or {}).values(), strict=True)):
            return None
        readings = [each for each in drawn[1:] if each]
        return _alone(plain, readings, own=drawn[0]) or _exchanged(plain, readings, drawn[0] or {})
    return None


def _read(loader: DataLoader[Any]) -> dict[str, Tensor] | None:
    """Some examples of a loader as one batch, read anew; None of few."""
    size = len(loader.dataset)  # type: ignore[arg-type]
    count = min(_MOST, size)
    examples = [loader.dataset[k * size // count] for k in range(count)] if count >= _FEWEST else []
    return dict(_detached(loader.collate_fn(examples))) if examples and loader.collate_fn is not None else None


def _joined(loader: Any, most: int) -> Batch:
    """Some batches of a loader as one."""
    found: list[Batch] = []
    count = numbers = 0
    for batch in loader:
        found.append(dict(_detached(batch)))
        count += len(next(iter(found[-1].values()), ()))
        numbers += sum(t.numel() for t in found[-1].values())
        if count >= most or numbers >= _MOST_VALUES:
            break
    return {place: torch.cat([each[place] for each in found]) for place in found[0]} if found else {}


def _exchanged_in_batches(plain: Batch, first: Batch, second: Batch) -> ExchangedClasses | None:
    """Whether a loader mirrors its images beside their labels, of which two are exchanged by that in validation."""
    for images in (p for p, t in plain.items() if t.dim() == 4 and t.is_floating_point() and p in first and p in second):
        for labels in (p for p, t in plain.items() if t.dim() == 1 and not t.is_floating_point() and p in first):
            if len(plain[labels]) < _FEWEST:
                continue
            for axis, words in _AXES:
                if not _meets_mirrored(first, second, images, labels, axis):
                    continue
                found = exchanged_classes(plain[images], plain[labels], axis, words, labels)
                if found is not None:
                    return found
    return None


def _meets_mirrored(first: Batch, second: Batch, images: str, labels: str, axis: int) -> bool:
    """Whether images of one pass are met in another, mirrored and with the same label, and nothing in the batch says so."""
    same, turned = (_met(first[images], second[images], axis if k else None) for k in range(2))
    kept = [(i, j) for i, j in turned if first[labels][i] == second[labels][j] and (i, j) not in same]
    if len(kept) < max(_FEWEST_TURNED, _MIRRORED * len(same | turned)):
        return False
    pairs = torch.tensor([*kept, *(same - turned)])
    is_mirrored = torch.arange(len(pairs)) < len(kept)
    rest = [p for p in first if p not in (images, labels) and len(first[p]) == len(first[images])]
    return not any(_tells(first[p][pairs[:, 0]], second[p][pairs[:, 1]][None], is_mirrored[None]) for p in rest)


def _met(first: Tensor, second: Tensor, axis: int | None) -> set[tuple[int, int]]:
    """Images of two passes that are the same, value for value, or mirrored: where they are in each."""
    turned = second if axis is None else second.flip(axis)
    rows, others = (F.adaptive_avg_pool2d(t.float(), _LEAST_SIDE).flatten(1) for t in (first, turned))
    nearest = torch.cdist(rows, others).argmin(dim=1)
    near = _EXACT * first.abs().amax()
    is_met = torch.stack([(a - turned[j]).abs().amax() <= near for a, j in zip(first, nearest.tolist(), strict=True)])
    return {(i, int(nearest[i])) for i in is_met.nonzero().flatten().tolist()}


def _tells(own: Tensor, drawn: Tensor, is_mirrored: Tensor) -> bool:
    """Whether a number of two values changes where images are mirrored, and nowhere else: the loss can exchange labels by it.

    Args:
        own: of each example.
        drawn: of (readings, examples).
        is_mirrored: (readings, examples).
    """
    if own[0].numel() > _MOST_NUMBERS:
        return False
    before, after = own.flatten(1) if own.dim() > 1 else own[:, None], drawn.flatten(2) if drawn.dim() > 2 else drawn[..., None]
    agrees = ((after != before) == is_mirrored[..., None]).float().flatten(0, 1).mean(dim=0) >= _TELLS
    return any(
        len(torch.cat([before[:, k], after[..., k].flatten()]).unique()) == 2 for k in agrees.nonzero().flatten().tolist()
    )


def _detached(batch: Any) -> list[tuple[str, Tensor]]:
    return [(place, t.detach().cpu()) for place, t in tensors(batch) if t.dim()]


def with_mirrored(facts: Facts | None, loader: Any, held_out: Any) -> Facts | None:
    """Add it to the facts, where nothing is known of it."""
    if facts is not None and facts.mirrored_alone is not None:
        return facts
    found = mirrored_when_read(loader, held_out) if held_out is not None else None
    facts = facts if found is None else facts or Facts()
    if facts is None or found is None:
        return facts
    if isinstance(found, ExchangedClasses):
        return replace(facts, readings=replace(facts.readings, exchanged=found))
    return replace(facts, mirrored_alone=found)


def _stacked(examples: list[Any]) -> dict[str, Tensor]:
    each = [dict(_detached(example)) for example in examples]
    return {place: torch.stack([one[place] for one in each]) for place in each[0]}


def _alone(
    plain: dict[str, Tensor], drawn: list[dict[str, Tensor]], own: dict[str, Tensor] | None = None
) -> tuple[str, str, float] | None:
    """Whether images of the readings are mirrored beside those of `own`, and targets not, which tell the sides of `plain`."""
    own = plain if own is None else own
    for images, axis, words in _mirrored_images(plain, drawn, own):
        sides = _difference(plain[images], axis)
        for place in _unchanged(own, drawn, images):
            told = _told(sides, plain[place], axis) if place in plain else 0.0
            if told >= _TOLD:
                return words, place, told
    return None


def _exchanged(plain: Batch, drawn: list[Batch], own: Batch) -> ExchangedClasses | None:
    """Whether images are mirrored beside labels of which two are exchanged by that."""
    for images, axis, words in _mirrored_images(plain, drawn, own):
        for place in _unchanged(own, drawn, images):
            if place in plain and (found := exchanged_classes(plain[images], plain[place], axis, words, place)) is not None:
                return found
    return None


def _unchanged(own: Batch, drawn: list[Batch], images: str) -> Iterator[str]:
    """What else is in the batch and stays as it is."""
    for place, target in own.items():
        if place != images and all(place in each and torch.equal(each[place], target) for each in drawn):
            yield place


def _mirrored_images(plain: Batch, drawn: list[Batch], own: Batch) -> Iterator[tuple[str, int, str]]:
    """Images that the readings mirror, and do not say which: their place, the dimension, and what is exchanged."""
    images = next((p for p, t in own.items() if t.dim() == 4 and t.is_floating_point() and p in drawn[0] and p in plain), None)
    if images is None or any(each[images].shape != own[images].shape for each in drawn):
        return
    for axis, words in _AXES:
        apart = torch.stack([(each[images] - own[images]).flatten(1).square().mean(dim=1) for each in drawn])
        turned = torch.stack([(each[images].flip(axis) - own[images]).flatten(1).square().mean(dim=1) for each in drawn])
        is_mirrored = (turned < _NEARER * apart) & (apart > 0)
        rest = [p for p in own if p != images and all(p in each and each[p].shape == own[p].shape for each in drawn)]
        if float(is_mirrored.float().mean()) < _MIRRORED:
            continue
        if not any(_tells(own[p], torch.stack([each[p] for each in drawn]), is_mirrored) for p in rest):
            yield images, axis, words


def _difference(images: Tensor, axis: int) -> Tensor:
    """What mirroring changes of images, at 4 x 4 places of which the other half is the same again: (examples, features)."""
    rows = images.float()
    rows = rows[:, None] if rows.dim() == 3 else rows
    coarse = F.adaptive_avg_pool2d(rows - rows.flip(axis), 4)
    return coarse.narrow(axis, 0, 2).flatten(1)


def _told(sides: Tensor, target: Tensor, axis: int) -> float:
    """Share of the variance of the target's best told number that a linear map of the sides explains, of the other half."""
    if target.dim() in (3, 4) and min(target.shape[-2:]) >= _LEAST_SIDE:
        numbers = _difference(target, axis)
    elif target.is_floating_point() and target.dim() >= 2 and target[0].numel() <= _MOST_NUMBERS and not _are_marks(target):
        numbers = target.float().flatten(1)
    else:
        return 0.0
    x, y = _standardised(sides.double()), _standardised(numbers.double())
    if not x.shape[1] or not y.shape[1]:
        return 0.0
    left = torch.zeros_like(y)
    for part in (slice(0, None, 2), slice(1, None, 2)):
        rest = slice(1 - (part.start or 0), None, 2)
        gram = x[part].T @ x[part] + _RIDGE * len(x[part]) * torch.eye(x.shape[1], dtype=x.dtype)
        left[rest] = y[rest] - x[rest] @ torch.linalg.solve(gram, x[part].T @ y[part])
    return float((1 - left.square().mean(dim=0) / y.square().mean(dim=0).clamp(min=1e-12)).max())


def _are_marks(target: Tensor) -> bool:
    """Whether these are classes or attributes, as of one-hot labels, which name no place in the image."""
    return bool(((target == 0) | (target == 1)).all())


def _standardised(columns: Tensor) -> Tensor:
    spread = columns.std(dim=0, correction=0)
    kept = spread > 1e-6 * columns.abs().amax().clamp(min=1e-12)
    return (columns[:, kept] - columns.mean(dim=0)[kept]) / spread[kept]
