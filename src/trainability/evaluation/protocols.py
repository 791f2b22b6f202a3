"""Evaluation protocols: which crops of an image, at which sizes, are averaged to one prediction."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.config import DataConfig, one_of
from trainability.evaluation.metrics import Errors, correct_counts, errors

GRID = 5
"""Multi-crop takes GRID x GRID positions."""


def centre(image: Tensor, crop: int, *, flip: bool) -> list[Tensor]:
    """Take the centre crop, as in the validation during training; never flipped.

    Args:
        image: (height, width, 3), each side at least the crop.
        crop: side in pixels.
        flip: ignored here; see `PROTOCOLS`.

    Returns:
        One view, (crop, crop, 3).
    """
    top, left = (image.shape[0] - crop) // 2, (image.shape[1] - crop) // 2
    return [image[top : top + crop, left : left + crop]]


def ten_crop(image: Tensor, crop: int, *, flip: bool) -> list[Tensor]:
    """Take the four corners and the centre, and their flips. See `centre`.

    Source: Krizhevsky et al. 2012, section 4.1.
    """
    bottom, right = image.shape[0] - crop, image.shape[1] - crop
    corners = [image[top : top + crop, left : left + crop] for top in (0, bottom) for left in (0, right)]
    return _with_mirrored(corners + centre(image, crop, flip=flip), flip)


def multi_crop(image: Tensor, crop: int, *, flip: bool) -> list[Tensor]:
    """Take a regular grid of 5x5 crops from corner to corner, and their flips. See `centre`.

    Source: Simonyan & Zisserman 2014, section 3.2: "50 crops per scale (5 x 5 regular grid with 2 flips)".
    """
    tops, lefts = (_spread(side - crop) for side in image.shape[:2])
    return _with_mirrored([image[top : top + crop, left : left + crop] for top in tops for left in lefts], flip)


def dense(image: Tensor, crop: int, *, flip: bool) -> list[Tensor]:
    """Take the whole image, of any shape, and its flip; the network averages its class map. See `centre`.

    Source: Simonyan & Zisserman 2014, section 3.2.
    """
    return _with_mirrored([image], flip)


def _spread(room: int) -> list[int]:
    """Space the grid's positions evenly over [0, room], rounded half up to whole pixels."""
    return [(2 * place * room + GRID - 1) // (2 * (GRID - 1)) for place in range(GRID)]


def _with_mirrored(views: list[Tensor], flip: bool) -> list[Tensor]:
    return views + [view.flip(1) for view in views] if flip else views


PROTOCOLS: dict[str, Callable[..., list[Tensor]]] = {
    "centre": centre,
    "ten-crop": ten_crop,
    "dense": dense,
    "multi-crop": multi_crop,
}
"""Each returns an image's views at one scale: (image, crop, *, flip) -> views whose softmax is averaged with equal weights.

`flip`: whether to add flipped views, in the three protocols that have them. By default they are added only if the network was
trained on flipped images (`data.flip`): a mirrored 2 is not a digit, and would only add noise."""


def parse_protocol(text: str) -> tuple[str, ...]:
    """Parse a protocol, or several joined by "+", whose softmax is averaged (the paper's "multi-crop & dense").

    Raises:
        ValueError: an unknown name.
    """
    names = tuple(part.strip() for part in text.split("+"))
    for name in names:
        one_of("protocol", name, tuple(PROTOCOLS))
    return names


def parse_scales(text: str) -> tuple[int, ...]:
    """Parse scales from the command line: "224,256,288".

    Raises:
        ValueError: a part is not a whole number.
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"scales: cannot read {text!r}; write smaller sides in pixels, as in 224,256,288") from None


def default_scale(config: DataConfig) -> int:
    """Return the paper's single test scale: Q = S, or the middle of the range of S.

    Args:
        config: completed.

    Source: Simonyan & Zisserman 2014, section 4.1.
    """
    assert config.size is not None
    return config.size if config.jitter is None else sum(config.jitter) // 2


def check_scales(scales: Iterable[int], crop: int) -> None:
    """Refuse a scale that is smaller than the crop.

    Raises:
        ValueError: a scale below the crop.
    """
    for scale in scales:
        if scale < crop:
            raise ValueError(f"scales: {scale} is smaller than the {crop} pixels that the network trained on")


def rescaled(image: Tensor, scale: int) -> Tensor:
    """Rescale an image so that its smaller side is `scale`, keeping the aspect ratio.

    Bilinear, antialiased when shrinking, rounded to integers. An image that already has the size is returned unchanged.

    Args:
        image: (height, width, 3) uint8.
        scale: smaller side in pixels (the paper's Q).

    Returns:
        (height, width, 3) uint8.
    """
    smaller = min(image.shape[:2])
    if smaller == scale:
        return image
    size = [(2 * side * scale + smaller) // (2 * smaller) for side in image.shape[:2]]
    channels_first = image.permute(2, 0, 1)[None].float()
    resized = F.interpolate(channels_first, size=size, mode="bilinear", antialias=True, align_corners=False)
    return resized[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8)


@torch.no_grad()
def evaluate(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor, Tensor]],
    *,
    num_classes: int,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext,
    total: Callable[[Tensor], Tensor] = lambda sums: sums,
) -> Errors:
    """Compute loss, top-1 and top-5 error over a validation set, every example once.

    Args:
        network: set to evaluation mode, and restored.
        batches: images (batch, 3, height, width), labels (batch,) and weights (batch,), 0 for an example that does not count.
        num_classes: decides whether the top-5 error is defined.
        device: of the batches.
        autocast: precision of the forward pass.
        total: sums a tensor over all processes.

    Returns:
        Means over the examples of all processes.
    """
    was_training = network.training
    network.eval()
    sums = torch.zeros(4, dtype=torch.float64, device=device)  # loss, top-1 correct, top-5 correct, examples
    for images, labels, weights in batches:
        with autocast():
            logits = network(images)
        losses = F.cross_entropy(logits.float(), labels, reduction="none") * weights
        sums[0] += losses.double().sum()
        sums[1:3] += correct_counts(logits, labels, weights)
        sums[3] += weights.sum()
    network.train(was_training)
    loss_sum, top1, top5, count = total(sums).tolist()
    return errors(loss_sum, top1, top5, int(count), num_classes)
