"""Small copies of the images that the error analysis lists, saved in the run directory as `thumbnails.npz`.

The report reads only the run directory: the images may be large, packed elsewhere, or deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from trainability.evaluation import archive
from trainability.evaluation.ensemble import ValImages

FILE = "thumbnails.npz"
SMALLER_SIDE = 96
LARGER_SIDE = 288
"""Limits of the smaller and the larger side in pixels. The second one limits the size of panoramas."""


def thumbnails(images: ValImages, positions: Iterable[int]) -> dict[int, np.ndarray]:
    """Make small copies of some validation images.

    Args:
        images: the validation set.
        positions: in the validation set.

    Returns:
        Position -> (height, width, 3) uint8, the smaller side at most 96 pixels. Smaller images are not rescaled.
    """
    return {position: _shrunk(images[position][0]) for position in sorted(set(positions))}


def _shrunk(image: Tensor) -> np.ndarray:
    pixels = image.cpu().numpy()
    height, width = pixels.shape[:2]
    factor = min(1, SMALLER_SIDE / min(height, width), LARGER_SIDE / max(height, width))
    if factor == 1:
        return pixels
    height, width = (max(1, round(side * factor)) for side in (height, width))
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def save(kept: Mapping[int, np.ndarray], path: Path) -> None:
    """Write thumbnails atomically."""
    archive.write({str(position): pixels for position, pixels in kept.items()}, path)


def load(path: Path) -> dict[int, np.ndarray]:
    """Read thumbnails, by position in the validation set.

    Raises:
        ValueError: there are none, or the file is damaged.
    """
    try:
        kept = {int(name): pixels for name, pixels in archive.read(path).items()}
        if any(p.dtype != np.uint8 or p.ndim != 3 or p.shape[2] != 3 or not p.size for p in kept.values()):
            raise ValueError
        return kept
    except FileNotFoundError:
        raise ValueError(f"{path}: no thumbnails; trainability evaluate {path.parent} makes them") from None
    except ValueError:
        raise ValueError(
            f"{path}: not the thumbnails of a run; the file was changed or damaged, or is of a version without a"
            f" checksum; trainability evaluate {path.parent} makes it anew"
        ) from None
