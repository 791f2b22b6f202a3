"""Classes that are each other's mirror image, and images that are mirrored at random beside them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from trainability.doctor.readings import ExchangedClasses

_SIDE = 8
_FEWEST = 8  # examples of a class in either half
_MOST_CLASSES, _MOST_PAIRS = 50, 300
_MOST_OFTEN = 0.9  # share of a class's held-out images: a pose that is usual is taken for the other class less often
_NO_BETTER = 0.65  # of held-out images, that a line tells apart that are one class: half, and what luck adds
_RIDGE = 0.1  # of the features' variance, which is 1


def exchanged_classes(images: Tensor, labels: Tensor, axis: int, words: str, place: str) -> ExchangedClasses | None:
    """Ask a linear classifier of two classes about images, as they are and mirrored.

    Args:
        images: (examples, channels, height, width), as they were taken.
        labels: (examples,) whole numbers.
        axis: along which they are mirrored.
        words: what that exchanges.
        place: of the labels in the batch.

    Returns:
        Two classes of which nine tenths of the images are told right, as they are, and as the other class, mirrored; of each.
        And mirrored images of either cannot be told from the other's as they are, held out, coarse or by their texture: an
        image that looks more like another class in the mirror, and like neither, is no image of that class, nor is one of a
        class that faces this way in most photographs. Those that hold most often; None if there are none.
    """
    if labels.dim() != 1 or labels.is_floating_point() or len(labels) != len(images):
        return None
    classes = labels.unique()
    if not 2 <= len(classes) <= _MOST_CLASSES:
        return None
    own, turned = _coarse(images), _coarse(images.flip(axis))
    fine, fine_turned = _textured(images), _textured(images.flip(axis))
    # Every second example of each class makes the classifier, so that both halves have as many.
    first = _rank(labels) % 2 == 0
    best: ExchangedClasses | None = None
    for one, other in torch.combinations(classes, 2)[:_MOST_PAIRS].tolist():
        a, b = labels == one, labels == other
        if min(int((half & of).sum()) for half in (first, ~first) for of in (a, b)) < _FEWEST:
            continue
        line = _Line(own[first & a], own[first & b])
        kept, gone = ~first & a, ~first & b
        least = min(line.share(own[kept], own[gone]), line.share(turned[gone], turned[kept]))
        if least < _MOST_OFTEN or (best is not None and least <= best.share):
            continue
        pairs = ((turned, own), (own, turned), (fine_turned, fine), (fine, fine_turned))
        if not any(_are_told(x[first & a], y[first & b], x[~first & a], y[~first & b]) for x, y in pairs):
            best = ExchangedClasses(sides=words, place=place, first=one, second=other, share=least)
    return best


class _Line:
    """A linear classifier of two classes, by least squares."""

    def __init__(self, a: Tensor, b: Tensor) -> None:
        rows = torch.cat([a, b])
        self._mean, self._spread = rows.mean(dim=0), rows.std(dim=0).clamp_min(1e-6)
        side = torch.cat([-torch.ones(len(a)) / len(a), torch.ones(len(b)) / len(b)]).double() * len(rows)  # both weigh as much
        x = self._standard(rows)
        gram = x.T @ x + _RIDGE * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
        self._weight = torch.linalg.solve(gram, x.T @ side)
        self._middle = 0.5 * float((self._standard(a) @ self._weight).mean() + (self._standard(b) @ self._weight).mean())

    def _standard(self, rows: Tensor) -> Tensor:
        return ((rows - self._mean) / self._spread).double()

    def is_second(self, rows: Tensor) -> Tensor:
        return self._standard(rows) @ self._weight > self._middle

    def share(self, a: Tensor, b: Tensor) -> float:
        """Of the rows of each class, those that are told right; the lesser of both."""
        return min(1 - float(self.is_second(a).double().mean()), float(self.is_second(b).double().mean()))


def _are_told(a: Tensor, b: Tensor, held_a: Tensor, held_b: Tensor) -> bool:
    """Whether a classifier of two kinds of images tells them apart, held out."""
    line = _Line(a, b)
    right = 1 - float(line.is_second(held_a).double().mean()) + float(line.is_second(held_b).double().mean())
    return right / 2 > _NO_BETTER


def _coarse(images: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(images.float(), (min(_SIDE, images.shape[-2]), min(_SIDE, images.shape[-1]))).flatten(1)


def _textured(images: Tensor) -> Tensor:
    """How much neighbours differ at each place, by rows and by columns: what stripes and grain have, and averages have not."""
    x = images.float()
    return torch.cat([_coarse(x.diff(dim=axis).abs()) for axis in (-1, -2)], dim=1)


def _rank(labels: Tensor) -> Tensor:
    """The place of each example among those of its class."""
    rank = torch.zeros_like(labels)
    for c in labels.unique():
        rank[labels == c] = torch.arange(int((labels == c).sum()))
    return rank
