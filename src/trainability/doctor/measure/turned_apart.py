"""Images and targets that are flipped, turned or moved at random, each by draws of its own: told by reading examples again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from trainability.doctor.batches import tensors
from trainability.doctor.measure.instead import exchanged
from trainability.doctor.measure.moves import AS_IT_IS, Move, mirrored_numbers, move_of, moves_of, moves_together, resized
from trainability.doctor.measure.randomness import generators_restored, randomness_restored, seed_torch
from trainability.doctor.readings import TurnedApart

_EXAMPLES, _READINGS = 24, 5
_MOST_VALUES = 1 << 20  # of one reading
_LEAST_SIDE, _MOST_SIDE = 8, 512
_MOST_NUMBERS = 64  # of a target that is a list of numbers: boxes, points
_FEWEST_APART, _LEAST_APART = 8, 0.2  # pairs of readings, and their share of those that are plain
_SAME_LOSS = 1e-5

Forward = Callable[[Any, Any], Tensor]
Reading = dict[str, Tensor]


def turned_apart(model: nn.Module, batch: Any, forward: Forward, loader: Any) -> TurnedApart | None:
    """Read the same examples several times, and find the exact map between two readings of each image and of its target.

    A target is what the loss goes by, row for row, and no layer of the model is given: two views of an image, both of which the
    model is given, are none.

    Args:
        model: runs as it is; the caller puts modes and buffers back.
        batch: of the loader.
        forward: of (model, batch), the loss.
        loader: a torch DataLoader over a data set with indices.

    Returns:
        How many pairs of readings show plainly what was done to the image and to the target, and in how many it is not the
        same: eight and a fifth at least. None elsewhere, and where what was done to either is not plain.
    """
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        return None
    with randomness_restored(), generators_restored(loader), torch.no_grad():
        readings = _readings(loader, batch)
    if len(readings) < _READINGS:
        return None
    varied = [place for place in readings[0] if any(not torch.equal(r[place], readings[0][place]) for r in readings[1:])]
    images = [place for place in varied if _is_image(readings[0][place])]
    if len(images) < 1 or len(varied) < 2:
        return None
    program = _Program(model, batch, forward)
    given = [place for place in varied if program.is_given(place)]
    if not given or any(place not in images for place in given):  # what else changes may say what is asked
        return None
    for target in (place for place in varied if place not in given):
        found = [
            _compared(readings, image, target) for image in given if _may_be_moved(readings[0][image], readings[0][target])
        ]
        # Of several images the target may go with one.
        if len(found) == len(given) and found[0] is not None and None not in found and program.goes_by(target):
            return found[0]
    return None


def _readings(loader: DataLoader, batch: Any) -> list[Reading]:
    """The same examples as the loader would make a batch of them, each time anew; fewer where they come out the same."""
    size = len(loader.dataset)  # type: ignore[arg-type]
    values = max((t[0].numel() for _, t in tensors(batch) if t.dim() and len(t)), default=1)
    count = max(2, min(_EXAMPLES, size, _MOST_VALUES // max(values, 1)))
    indices = sorted({size * k // count for k in range(count)})
    readings: list[Reading] = []
    with contextlib.suppress(Exception):  # of a collate_fn for fewer, a data set that fails
        while len(readings) < _READINGS:
            items = [loader.dataset[i] for i in indices]
            made = loader.collate_fn(items) if loader.collate_fn is not None else items
            found = {place: t.detach().cpu().clone() for place, t in tensors(made) if t.dim() and len(t) == len(indices)}
            if readings and {place: t.shape for place, t in found.items()} != {p: t.shape for p, t in readings[0].items()}:
                return []
            readings.append(found)
            if len(readings) == 2 and all(torch.equal(t, readings[0][place]) for place, t in found.items()):
                return []
    return readings


def _is_image(t: Tensor) -> bool:
    return t.dim() in (3, 4) and not t.is_complex() and _LEAST_SIDE <= t.shape[-1] <= _MOST_SIDE and t.shape[-2] <= _MOST_SIDE


def _may_be_moved(image: Tensor, target: Tensor) -> bool:
    """Whether a target is a map of places, or numbers that may be places in the image."""
    if _is_image(target):
        return True
    return _are_steps(image, target) or (target.is_floating_point() and target[0].numel() <= _MOST_NUMBERS)


def _are_steps(image: Tensor, target: Tensor) -> bool:
    """Whether there is one number of the target for each step of a sequence."""
    return image.dim() == 3 and target.dim() == 2 and target.shape[-1] == image.shape[-1]


def _compared(readings: list[Reading], image: str, target: str) -> TurnedApart | None:
    """What was done to both between the first reading of each example and the others."""
    of_images: list[Move | None] = []
    pairs: list[tuple[Tensor, Tensor]] = []
    first = readings[0]
    for other in readings[1:]:
        for k in range(len(first[image])):
            a, b = first[image][k], other[image][k]
            of_images.append(move_of(a, b))
            pairs.append((first[target][k], other[target][k]))
            if len(pairs) == _FEWEST_APART and not any(of_images):
                return None
    if all(move is None or move.is_none for move in of_images):  # the image itself is left as it is
        return None
    if _is_image(first[target]) or _are_steps(first[image], first[target]):
        apart, plain = _of_maps(of_images, pairs, first[image].shape[-2:])
    else:
        apart, plain = _of_numbers(of_images, pairs)
    if apart < max(_FEWEST_APART, _LEAST_APART * plain):
        return None
    return TurnedApart(input=image, target=target, num_pairs=plain, num_apart=apart)


def _of_maps(of_images: list[Move | None], pairs: list[tuple[Tensor, Tensor]], size: tuple[int, ...]) -> tuple[int, int]:
    """How often the target has a move of its own, of how often it is plain whether it goes with the image.

    Only where the image is the same way round: in the mirror image left and right may have other names.
    """
    apart, plain = 0, 0
    for move, (a, b) in zip(of_images, pairs, strict=True):
        if move is None or move.turn != AS_IT_IS:
            continue
        # A target of another size is one of the same pixels, without the margin, or of larger or smaller ones.
        answers = [moves_together(own, a, b) for own in (move, resized(move, size, tuple(a.shape[-2:]))) if own is not None]
        together = True if True in answers else None if None in answers else False
        is_apart = together is False and any(not own.is_none for own in moves_of(a, b))
        apart, plain = apart + is_apart, plain + (is_apart or together is True)
    return apart, plain


def _of_numbers(of_images: list[Move | None], pairs: list[tuple[Tensor, Tensor]]) -> tuple[int, int]:
    """Numbers are only asked about where the image is as before: they must be, too, and not those of the mirror image."""
    if not mirrored_numbers(pairs):
        return 0, 0
    still = [not torch.equal(a, b) for move, (a, b) in zip(of_images, pairs, strict=True) if move is not None and move.is_none]
    return sum(still), len(still)


class _Program:
    """A program that is asked what it gives to its layers, and what its loss goes by."""

    def __init__(self, model: nn.Module, batch: Any, forward: Forward) -> None:
        self._model, self._batch, self._forward = model, batch, forward
        self._places = dict(tensors(batch))
        self._told, self._loss = _run(model, batch, forward)
        self._repeats = (self._told, self._loss) == _run(model, batch, forward)

    def _with(self, place: str, other: Tensor) -> tuple[list[float], float]:
        return _run(self._model, exchanged(self._batch, self._places[place], other), self._forward)

    def is_given(self, place: str) -> bool:
        """Whether layers are given something else where the examples have each other's."""
        if place not in self._places or not self._repeats:
            return False
        told, _ = self._with(place, self._places[place].roll(1, 0))
        return told != self._told

    def goes_by(self, place: str) -> bool:
        """Whether the loss goes by which example has which target, and by which way round.

        That of sets of images, or of textures, does not.
        """
        if place not in self._places or not self._repeats:
            return False
        target = self._places[place]
        costs = [self._with(place, target.roll(1, 0))[1]]
        costs += [self._with(place, target.flip(-1))[1]] if target.dim() > 2 else []
        return all(abs(cost - self._loss) > _SAME_LOSS * abs(self._loss) for cost in costs)


def _run(model: nn.Module, batch: Any, forward: Forward) -> tuple[list[float], float]:
    """What modules with parameters are given, as sums, and the loss."""
    told: list[float] = []

    def given(module: nn.Module, args: Any, kwargs: Any) -> None:
        for _, t in tensors([args, kwargs]):
            if not t.is_complex() and t.numel():
                weights = torch.arange(t.numel(), device=t.device).double().mul(0.7).cos().reshape(t.shape)
                told.append(float((t.detach().double() * weights).sum()))

    trained = [module for module in model.modules() if any(True for _ in module.parameters())]
    handles = [module.register_forward_pre_hook(given, with_kwargs=True) for module in trained]
    try:
        with torch.enable_grad(), randomness_restored():
            seed_torch(0)
            loss = float(forward(model, batch).detach().sum())
    finally:
        for handle in handles:
            handle.remove()
    return told, loss
