"""Classes that are each other's mirror image, and images that are mirrored at random beside them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from trainability.doctor.readings import ExchangedClasses

_SIDE = 8
_FEWEST = 8  # examples of a class in either half
_MOST_CLASSES = 50
_MOST_OFTEN = 0.8  # share of a class's held-out images


def exchanged_classes(images: Tensor, labels: Tensor, axis: int, words: str, place: str) -> ExchangedClasses | None:
    """Compare held-out images, as they are and mirrored, with the mean image of each class.

    Args:
        images: (examples, channels, height, width), as they were taken.
        labels: (examples,) whole numbers.
        axis: along which they are mirrored.
        words: what that exchanges.
        place: of the labels in the batch.

    Returns:
        Two classes of which eight tenths of the images are nearest to their own class's mean, and mirrored to the other's; of
        each. Those that hold most often; None if there are none.
    """
    if labels.dim() != 1 or labels.is_floating_point() or len(labels) != len(images):
        return None
    classes = labels.unique()
    if not 2 <= len(classes) <= _MOST_CLASSES:
        return None
    pixels = F.adaptive_avg_pool2d(images.float(), (min(_SIDE, images.shape[-2]), min(_SIDE, images.shape[-1])))
    own, turned = pixels.flatten(1), pixels.flip(axis).flatten(1)
    # Every second example of each class makes the means, so that both halves have as many.
    first = _rank(labels) % 2 == 0
    if any(int((first & (labels == c)).sum()) < _FEWEST or int((~first & (labels == c)).sum()) < _FEWEST for c in classes):
        return None
    means = torch.stack([own[first & (labels == c)].mean(dim=0) for c in classes])
    held = torch.searchsorted(classes, labels[~first].contiguous())

    def shares(rows: Tensor) -> Tensor:
        nearest = torch.cdist(rows[~first], means).argmin(dim=1)
        return torch.stack([F.one_hot(nearest[held == k], len(classes)).double().mean(dim=0) for k in range(len(classes))])

    as_is, mirrored = shares(own), shares(turned)
    best: ExchangedClasses | None = None
    for a in range(len(classes)):
        for b in range(a + 1, len(classes)):
            least = float(min(as_is[a, a], as_is[b, b], mirrored[a, b], mirrored[b, a]))
            if least >= _MOST_OFTEN and (best is None or least > best.share):
                best = ExchangedClasses(sides=words, place=place, first=int(classes[a]), second=int(classes[b]), share=least)
    return best


def _rank(labels: Tensor) -> Tensor:
    """The place of each example among those of its class."""
    rank = torch.zeros_like(labels)
    for c in labels.unique():
        rank[labels == c] = torch.arange(int((labels == c).sum()))
    return rank
