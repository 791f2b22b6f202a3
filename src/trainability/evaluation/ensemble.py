"""Average the predictions of one or several trained networks for every validation image."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.data.augment import normalised
from trainability.data.dataset import Split
from trainability.evaluation import predictions
from trainability.evaluation.predictions import Predictions
from trainability.evaluation.protocols import PROTOCOLS, check_scales, parse_protocol, rescaled


class ValImages(Protocol):
    """A validation set, read by position; images may differ in shape."""

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def __getitem__(self, index: int, /) -> tuple[Tensor, int]:
        """Return an image, (height, width, 3) uint8, and its label."""
        ...


@dataclass(frozen=True)
class SplitImages:
    """A split in memory as `ValImages`."""

    split: Split

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return an image, (height, width, 3) uint8, and its label."""
        return self.split.images[index], int(self.split.labels[index])


@dataclass(frozen=True, kw_only=True)
class Member:
    """A trained network and its input.

    Attributes:
        name: used in messages.
        network: (batch, 3, height, width) float -> (batch, classes) logits; on the device.
        images: its validation set; all members have the same images, perhaps stored at other sizes.
        crop: side in pixels that it was trained on.
        scales: smaller sides of the test images in pixels (the paper's Q).
        flip: whether flipped images are evaluated too.
        mean: (3,) float32 on 0-255, subtracted.
        scale: (3,) float32, divides the result, or `None`.
    """

    name: str
    network: nn.Module
    images: ValImages
    crop: int
    scales: tuple[int, ...]
    flip: bool
    mean: Tensor
    scale: Tensor | None


@torch.no_grad()
def predict(
    members: Sequence[Member],
    *,
    protocol: str,
    class_names: tuple[str, ...],
    device: torch.device,
    batch_size: int = 64,
    autocast: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext,
    rank: int = 0,
    world_size: int = 1,
    gathered: Callable[[Any], list[Any]] = lambda value: [value],
    advance: Callable[[int], object] = lambda num_images: None,
) -> Predictions:
    """Run every member on every image, and average the softmax: over views and scales, then protocols, then members.

    The process that holds an image averages in float64, in a fixed order; errors are counted once all images are together, in
    the set's order. So batch size and number of processes affect the counts only through the rounding of the forward pass.

    Args:
        members: at least one.
        protocol: a key of `PROTOCOLS`, or several joined by "+".
        class_names: one per class.
        device: where the networks are.
        batch_size: most views in one forward pass.
        autocast: precision of the forward pass.
        rank: of this process, which evaluates every `world_size`-th image.
        world_size: number of processes.
        gathered: collects a value from every process.
        advance: called with the number of images just done.

    Returns:
        Predictions for the whole validation set, in every process.

    Raises:
        ValueError: an unknown protocol, a scale below the crop, or members with different validation sets.
    """
    names = parse_protocol(protocol)
    _check(members)
    mine = range(rank, len(members[0].images), world_size)
    chunk = max(1, batch_size // _views_per_scale(names, members))
    parts = []
    for start in range(0, len(mine), chunk):
        index = mine[start : start + chunk]
        answers, labels = [], []
        for member in members:
            member.network.eval()
            images, labels = _read(member, index, labels, device)
            answers += [_log_mean(torch.stack([_ask(member, images, name, batch_size, autocast) for name in names]))]
        parts.append(
            predictions.from_log_probabilities(
                _log_mean(torch.stack(answers)),
                torch.tensor(labels),
                class_names=class_names,
                protocol=describe(members, protocol),
            )
        )
        advance(len(index))
    everybodys = gathered((list(mine), parts))
    return predictions.joined(
        [part for _, parts in everybodys for part in parts],
        [position for positions, _ in everybodys for position in positions],
    )


def _check(members: Sequence[Member]) -> None:
    """Refuse scales below the crop, and validation sets of different sizes."""
    num_images = len(members[0].images)
    for member in members:
        check_scales(member.scales, member.crop)
        if len(member.images) != num_images:
            raise ValueError(
                f"{member.name} has {len(member.images)} validation images and {members[0].name} {num_images};"
                " an ensemble needs the same ones"
            )


def describe(members: Sequence[Member], protocol: str) -> str:
    """Describe the evaluation: "dense at 224, 256, 288 pixels, with flips"."""
    scales = sorted({scale for member in members for scale in member.scales})
    has_mirrored = any(member.flip for member in members) and protocol != "centre"
    runs = f", {len(members)} runs averaged" if len(members) > 1 else ""
    return f"{protocol} at {', '.join(map(str, scales))} pixels{', with flips' if has_mirrored else ''}{runs}"


def _views_per_scale(names: Sequence[str], members: Sequence[Member]) -> int:
    """Return the largest number of views of an image at one scale, over protocols and members."""
    blank = {member.crop: torch.zeros(member.crop, member.crop, 3, dtype=torch.uint8) for member in members}
    return max(len(PROTOCOLS[name](blank[m.crop], m.crop, flip=m.flip)) for name in names for m in members)


def _read(member: Member, index: range, labels: list[int], device: torch.device) -> tuple[list[Tensor], list[int]]:
    """Read images and labels, and compare the labels with those of the previous member."""
    images, own = zip(*(member.images[position] for position in index), strict=True)
    if labels and labels != list(own):
        raise ValueError(f"{member.name} has other validation labels than the previous run; an ensemble needs the same images")
    return [image.to(device) for image in images], list(own)


def _ask(
    member: Member,
    images: list[Tensor],
    name: str,
    batch_size: int,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> Tensor:
    """Evaluate one network with one protocol. Returns (images, classes) float64 on the CPU: ln of the averaged softmax."""
    views = [
        view
        for image in images
        for scale in member.scales
        for view in PROTOCOLS[name](rescaled(image, scale), member.crop, flip=member.flip)
    ]
    by_shape: dict[torch.Size, list[int]] = {}
    for number, view in enumerate(views):
        by_shape.setdefault(view.shape, []).append(number)
    answers: list[Tensor] = [torch.empty(0)] * len(views)
    for numbers in by_shape.values():
        for start in range(0, len(numbers), batch_size):
            part = numbers[start : start + batch_size]
            pixels = torch.stack([views[number] for number in part])
            with autocast():
                logits = member.network(normalised(pixels, member.mean, member.scale))
            for number, answer in zip(part, F.log_softmax(logits.double(), 1).cpu(), strict=True):
                answers[number] = answer
    # All images have the same number of views, stored one after the other.
    return _log_mean(torch.stack(answers).unflatten(0, (len(images), -1)).transpose(0, 1))


def _log_mean(logs: Tensor) -> Tensor:
    """Average probabilities, given as logarithms, over the first dimension; underflow changes neither rank nor loss."""
    return logs[0] if len(logs) == 1 else logs.logsumexp(0) - math.log(len(logs))
