"""Mean, standard deviation and covariance of pixels, computed exactly from integer sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

NUM_SUMS = 10
"""Per image: number of pixels, sums of R, G, B, and of RR, GG, BB, RG, RB, GB. Adding them gives the sums of any split."""

_CHUNK = 2**16
_BLOCK = 256
"""Pixels whose products are summed in float32: 256 * 255^2 is below 2^24, so every sum is exact, in whatever order."""
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
    """Compute the sums of one image, or of many together.

    Args:
        pixels: (..., 3) uint8.

    Returns:
        (10,) int64, see `NUM_SUMS`.
    """
    return image_sums([pixels])[0]


def image_sums(images: Sequence[np.ndarray]) -> np.ndarray:
    """Compute the sums of each of several images.

    Args:
        images: (..., 3 or padded to 4) uint8 each, all of one shape; (..., 1) of grey ones, whose colours are alike.

    Returns:
        (number of images, 10) int64, see `NUM_SUMS`.
    """
    num_values = images[0].shape[-1]
    num_pixels = images[0].size // num_values
    width = min(-(-num_pixels // _BLOCK) * _BLOCK, _CHUNK)
    at_once = max(1, min(len(images), _CHUNK // width))
    planes = np.zeros((min(num_values, 3), at_once, width), dtype=np.float32)
    totals = np.zeros((len(images), NUM_SUMS), dtype=np.int64)
    totals[:, 0] = num_pixels
    for first in range(0, len(images), at_once):
        group = [image.reshape(-1, num_values)[:, :3] for image in images[first : first + at_once]]
        for start in range(0, num_pixels, _CHUNK):
            for number, flat in enumerate(group):
                part = flat[start : start + _CHUNK]
                planes[:, number, : len(part)] = part.T
                planes[:, number, len(part) :] = 0
            totals[first : first + len(group), 1:] += _sums_of(planes[:, : len(group)])
    return totals


def _sums_of(planes: np.ndarray) -> np.ndarray:
    """Sum channels and their products: (3 or 1, num, a multiple of `_BLOCK`) float32 -> (num, 9) int64."""
    blocks = planes.reshape(*planes.shape[:2], -1, _BLOCK)
    # Einsum without BLAS, whose threads would compete with those of the other packing processes.
    values = np.einsum("cnbp->cnb", blocks)
    squares = np.einsum("cnbp,cnbp->cnb", blocks, blocks)
    if len(planes) == 1:
        return np.stack([*values] * 3 + [*squares] * 6, axis=1).sum(2, dtype=np.float64).astype(np.int64)
    red_green, green_blue = np.einsum("cnbp,cnbp->cnb", blocks[:2], blocks[1:])
    red_blue = np.einsum("nbp,nbp->nb", blocks[0], blocks[2])
    sums = np.stack([*values, *squares, red_green, red_blue, green_blue], axis=1)
    return sums.sum(2, dtype=np.float64).astype(np.int64)


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
