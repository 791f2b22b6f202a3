"""How a trained network is asked about an image: which parts of it, at which sizes, are averaged into one answer."""

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
"""Multi-crop takes GRID x GRID places."""


def centre(image: Tensor, crop: int, *, flip: bool) -> list[Tensor]:
    """Take the centre crop, as while training; never mirrored.

    Args:
        image: (height, width, 3), each side at least the crop.
        crop: side in pixels.
        flip: has no bearing here; see `PROTOCOLS`.

    Returns:
        The one view, (crop, crop, 3).
    """
    top, left = (image.shape[0] - crop) // 2, (image.shape[1] - crop) // 2
    return [image[top : top + crop, left : left + crop]]


def ten_crop(image: Tensor, crop: int, *, flip: bool) -> list[Tensor]:
    """Take the four corners and the centre, and their mirror images. See `centre`.

    Source: Krizhevsky et al. 2012, section 4.1.
    """
    bottom, right = image.shape[0] - crop, image.shape[1] - crop
    corners = [image[top : top + crop, left : left + crop] for top in (0, bottom) for left in (0, right)]
    return _with_mirrored(corners + centre(image, crop, flip=flip), flip)


def multi_crop(image: Tensor, crop: int, *, flip: bool) -> list[Tensor]:
    """Take a regular grid of 5x5 crops from corner to corner, and their mirror images. See `centre`.

    Source: Simonyan & Zisserman 2014, section 3.2: "50 crops per scale (5 x 5 regular grid with 2 flips)".
    """
    tops, lefts = (_spread(side - crop) for side in image.shape[:2])
    return _with_mirrored([image[top : top + crop, left : left + crop] for top in tops for left in lefts], flip)


def dense(image: Tensor, crop: int, *, flip: bool) -> list[Tensor]:
    """Take the whole image, whatever its shape, and its mirror image; the network averages its class map. See `centre`.

    Source: Simonyan & Zisserman 2014, section 3.2.
    """
    return _with_mirrored([image], flip)


def _spread(room: int) -> list[int]:
    """Spread the grid's places evenly over [0, room], rounded half up to whole pixels."""
    return [(2 * place * room + GRID - 1) // (2 * (GRID - 1)) for place in range(GRID)]


def _with_mirrored(views: list[Tensor], flip: bool) -> list[Tensor]:
    return views + [view.flip(1) for view in views] if flip else views


PROTOCOLS: dict[str, Callable[..., list[Tensor]]] = {
    "centre": centre,
    "ten-crop": ten_crop,
    "dense": dense,
    "multi-crop": multi_crop,
}
"""Each gives an image's views at one scale: (image, crop, *, flip) -> pixels whose softmax is averaged with equal weights.

`flip` is whether mirror images are asked too, in the three protocols that have them. They are only where the network was
trained on them (`data.flip`): a mirrored 2 is no digit, and its answer would only add noise."""


def parse_protocol(text: str) -> tuple[str, ...]:
    """Read a protocol, or several joined by "+", whose softmaxes are averaged (the paper's "multi-crop & dense").

    Raises:
        ValueError: an unknown name.
    """
    names = tuple(part.strip() for part in text.split("+"))
    for name in names:
        one_of("protocol", name, tuple(PROTOCOLS))
    return names


def parse_scales(text: str) -> tuple[int, ...]:
    """Read scales as the command line gives them: "224,256,288".

    Raises:
        ValueError: a part is not a whole number.
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"scales: cannot read {text!r}; write smaller sides in pixels, as in 224,256,288") from None


def default_scale(config: DataConfig) -> int:
    """Give the paper's single test scale: Q = S, or the middle of the range that S was drawn from.

    Args:
        config: completed.

    Source: Simonyan & Zisserman 2014, section 4.1.
    """
    assert config.size is not None
    return config.size if config.jitter is None else sum(config.jitter) // 2


def check_scales(scales: Iterable[int], crop: int) -> None:
    """Refuse a scale that no crop fits in.

    Raises:
        ValueError: a scale below the crop.
    """
    for scale in scales:
        if scale < crop:
            raise ValueError(f"scales: {scale} is smaller than the {crop} pixels that the network trained on")


def rescaled(image: Tensor, scale: int) -> Tensor:
    """Rescale an image so that its smaller side is `scale`, keeping its shape.

    Bilinear, antialiased where it shrinks, rounded to whole pixels. An image that has the size already is left untouched.

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
    """Measure loss, top-1 and top-5 error over a validation set, every example once.

    Args:
        network: switched to evaluation for the time, then back.
        batches: images (batch, 3, height, width), labels (batch,) and weights (batch,), 0 for an example that does not count.
        num_classes: for whether the top-5 error is defined.
        device: of the batches.
        autocast: precision of the forward pass.
        total: adds a tensor up over all processes.

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
