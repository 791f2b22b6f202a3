"""Mean, standard deviation and covariance of pixels, exact, from integer sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

NUM_SUMS = 10
"""Per image: number of pixels, sums of R, G, B, and of RR, GG, BB, RG, RB, GB. Adding them gives the sums of any split."""

_CHUNK = 2**16
_PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


@dataclass(frozen=True, kw_only=True)
class ColourStatistics:
    """First and second moments of the pixels of a set, on 0-255.

    Attributes:
        mean: (3,) float32.
        std: (3,) float32.
        covariance: (3, 3) float32, between the channels.
    """

    mean: Tensor
    std: Tensor
    covariance: Tensor


def pixel_sums(pixels: np.ndarray) -> np.ndarray:
    """Compute the sums of one image or of many.

    Args:
        pixels: (..., 3) uint8.

    Returns:
        (10,) int64, see `NUM_SUMS`.
    """
    flat = pixels.reshape(-1, 3)
    totals = np.zeros(NUM_SUMS, dtype=np.int64)
    for start in range(0, len(flat), _CHUNK):
        # numpy multiplies integers without BLAS, whose threads would compete with those of the other packing processes.
        channels = np.ascontiguousarray(flat[start : start + _CHUNK].T).astype(np.int64)
        products = [np.dot(channels[a], channels[b]) for a, b in _PAIRS]
        totals += np.array([channels.shape[1], *channels.sum(1), *products])
    return totals


def colour_statistics(sums: np.ndarray) -> ColourStatistics:
    """Compute moments from the total of `pixel_sums`.

    Args:
        sums: (10,) int64.
    """
    count, mean = float(sums[0]), sums[1:4] / float(sums[0])
    covariance = np.empty((3, 3))
    for (a, b), total in zip(_PAIRS, sums[4:], strict=True):
        covariance[a, b] = covariance[b, a] = total / count - mean[a] * mean[b]
    std = np.sqrt(np.diagonal(covariance).clip(min=0))
    return ColourStatistics(
        mean=torch.from_numpy(mean).float(),
        std=torch.from_numpy(std).float(),
        covariance=torch.from_numpy(covariance).float(),
    )
