"""Pairs whose two sides belong together: nearer to each other than to those of other pairs, however inputs are looked at."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from trainability.doctor.measure.directions import nearer_and_further
from trainability.doctor.pair_facts import OwnPairs

_FEWEST = 24  # pairs of either kind
_FEWEST_STEPS = 16  # of a row that may be a series
_SIDE = 64  # images are made no larger than this
_MOST_EQUAL = 0.5  # share of the pairs


def own_pairs(one: Tensor, other: Tensor, pull: Tensor) -> OwnPairs | None:
    """Ask of the pairs pulled together, and of those pushed apart, whether each is a pair, or any two are as near.

    Distances of pairs alone are large by what the pairs do not have in common (light, phase, place), and differ between kinds
    of pairs by where each kind is drawn; the same rows in other pairs of their kind tell what they would be by chance.

    Args:
        one: (pairs, ...) float, the one side.
        other: the same of the other.
        pull: (pairs,), above zero of pairs pulled together, below of those pushed apart.

    Returns:
        Of the view of the inputs in which the pairs pushed apart belong together most surely, of images without their light;
        None with too few pairs.
    """
    if min(int((pull > 0).sum()), int((pull < 0).sum())) < _FEWEST or not one.is_floating_point():
        return None
    found = []
    for view in _views(one):
        a, b = view(one.float()).flatten(1), view(other.float()).flatten(1)
        (pulled, _), (pushed, share) = (_nearer(a[kind], b[kind]) for kind in (pull > 0, pull < 0))
        nearer, _ = nearer_and_further((b - a)[pull > 0], (b - a)[pull < 0])
        found.append((pulled, pushed, share, nearer))
    if not all(math.isfinite(value) for each in found for value in each):
        return None
    pulled, pushed, share, _ = max(found[1::2] if one.dim() == 4 else found, key=lambda each: each[1])
    return OwnPairs(
        pushed_z=pushed,
        pushed_share=share,
        pulled_z=max(each[0] for each in found),
        nearer_z=max(each[3] for each in found),
        pulled_there_z=pulled,
        pushed_equal=_equal(one[pull < 0].flatten(1), other[pull < 0].flatten(1)),
    )


def _nearer(one: Tensor, other: Tensor) -> tuple[float, float]:
    """Standard errors by which own sides are nearer than those of other pairs, and by which share of the distance."""
    apart = torch.cdist(one.double(), other.double())
    count, own = len(apart), apart.diagonal()
    by_chance = (apart.sum(dim=0) + apart.sum(dim=1) - 2 * own) / (2 * (count - 1))
    gap = by_chance - own
    error = float(gap.std()) / math.sqrt(count)
    return float(gap.mean()) / max(error, 1e-12), float(gap.mean() / by_chance.mean().clamp(min=1e-12))


def _equal(one: Tensor, other: Tensor) -> float:
    """Share of equal numbers beyond that of two pairs, as of unlike pairs that are made by an edit of one side."""
    same = one == other
    if float(same.all(dim=1).float().mean()) > _MOST_EQUAL:
        return 0.0  # what is equal throughout is no pair of two things
    by_chance = float((one == other.roll(1, dims=0)).float().mean())
    return max((float(same.float().mean()) - by_chance) / max(1 - by_chance, 1e-12), 0.0)


def _views(x: Tensor) -> list[Callable[[Tensor], Tensor]]:
    """Inputs as they are, without their light (every second view of images), and the strengths of both's frequencies.

    The latter know no place and no phase.
    """
    if x.dim() == 4:
        along: tuple[int, ...] = (2, 3)
    elif x.dim() in (2, 3):
        along = (max(range(1, x.dim()), key=lambda d: x.shape[d]),)
    else:
        return [lambda rows: rows]
    plain: list[Callable[[Tensor], Tensor]] = [lambda rows: _coarse(rows), lambda rows: _evened(_coarse(rows))]
    if min(x.shape[d] for d in along) < (_FEWEST_STEPS if x.dim() < 4 else 4):
        return plain[: 2 if x.dim() == 4 else 1]
    return [*plain, *(lambda rows, look=look: torch.fft.rfftn(look(rows), dim=along).abs() for look in plain)]


def _coarse(rows: Tensor) -> Tensor:
    side = max(rows.shape[2:]) if rows.dim() == 4 else 0
    return torch.nn.functional.avg_pool2d(rows, -(-side // _SIDE)) if side > _SIDE else rows


def _evened(rows: Tensor) -> Tensor:
    """The mean of an image's channels, each with the mean 0 and the spread 1; of other rows, these themselves."""
    flat = (rows.mean(dim=1) if rows.dim() == 4 else rows).flatten(1)
    flat = (flat - flat.mean(dim=1, keepdim=True)) / flat.std(dim=1, keepdim=True).clamp(min=1e-6)
    return flat.reshape(len(rows), 1, *rows.shape[2:]) if rows.dim() == 4 else flat.reshape(rows.shape)
