"""A data set before decoding: the list of its images, and how to read the bytes of each."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from trainability.config import plain
from trainability.disk import regular

TRAIN, VAL, UNSPLIT = 0, 1, 2
"""Which split an image belongs to. UNSPLIT: the source does not say; the run's random seed decides."""


MOST_FILE_BYTES = 2**30
"""Largest accepted size of an image file, in bytes."""


class Images(Protocol):
    """Image files or pixels, read one at a time by position, from any process."""

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def read(self, position: int) -> bytes | np.ndarray:
        """Return a whole image file, or its pixels as (height, width, 3) uint8."""
        ...

    def name(self, position: int) -> str:
        """Return the name by which the user finds the image."""
        ...


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """A data set, not yet decoded.

    Attributes:
        class_names: one per class.
        images: num of them.
        labels: (num,) int32 in [0, number of classes).
        splits: (num,) int8 of TRAIN, VAL or UNSPLIT.
        containers: the files and folders that hold the images; their modification times and sizes show whether the set changed.
    """

    class_names: tuple[str, ...]
    images: Images
    labels: np.ndarray
    splits: np.ndarray
    containers: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        assert len(self.images) == len(self.labels) == len(self.splits)


@dataclass(frozen=True)
class FileImages:
    """One file per image, under one folder."""

    root: Path
    names: Sequence[str]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.names)

    def read(self, position: int) -> bytes:
        """Read a file; a pipe or a device is refused."""
        return regular.read(self.root / self.names[position], most_bytes=MOST_FILE_BYTES)

    def name(self, position: int) -> str:
        """Return the path below the folder."""
        return self.names[position]


@dataclass(frozen=True)
class TarImages:
    """Images of one uncompressed tar file, read without unpacking it.

    Attributes:
        path: of the tar.
        names: of the members.
        offsets: (num,) int64, first byte of each in the tar.
        sizes: (num,) int64, bytes.
    """

    path: Path
    names: Sequence[str]
    offsets: np.ndarray
    sizes: np.ndarray

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.names)

    def read(self, position: int) -> bytes:
        """Read a member."""
        # Opened for every read: after a fork, processes that share a file object also share its position.
        with self.path.open("rb", buffering=0) as file:
            file.seek(int(self.offsets[position]))
            return file.read(int(self.sizes[position]))

    def name(self, position: int) -> str:
        """Return the member's path."""
        return self.names[position]


def repeated(grey: np.ndarray | bytes, height: int, width: int) -> np.ndarray:
    """Return grey pixels, row by row, as (height, width, 3) uint8: all three channels share memory."""
    return np.ndarray((height, width, 3), np.uint8, grey, strides=(width, 1, 0))


@dataclass(frozen=True)
class ArrayImages:
    """Images as pixels in memory, all of one shape.

    Attributes:
        pixels: (num, height, width, 3) uint8, or (num, height, width) for grey.
        label: first part of an image's name; its number follows.
    """

    pixels: np.ndarray
    label: str

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.pixels)

    def read(self, position: int) -> np.ndarray:
        """Return the pixels of an image; grey is repeated to three channels, by strides and not by copying."""
        pixels = self.pixels[position]
        if pixels.ndim == 3:
            return pixels
        return repeated(np.ascontiguousarray(pixels), *pixels.shape)

    def name(self, position: int) -> str:
        """Return label and number."""
        return f"{self.label} {position}"


class Joined:
    """Several collections of images, concatenated."""

    def __init__(self, parts: Sequence[Images]) -> None:
        """Concatenate collections, in this order."""
        self.parts = list(parts)
        self.starts = np.cumsum([0, *(len(part) for part in self.parts)]).tolist()

    def __len__(self) -> int:
        """Return the number of images."""
        return self.starts[-1]

    def read(self, position: int) -> bytes | np.ndarray:
        """Read from the collection that holds the position."""
        part, within = self._find(position)
        return part.read(within)

    def name(self, position: int) -> str:
        """Return the name that its collection gives the image."""
        part, within = self._find(position)
        return part.name(within)

    def _find(self, position: int) -> tuple[Images, int]:
        number = bisect.bisect_right(self.starts, position) - 1
        return self.parts[number], position - self.starts[number]


def readable(name: str) -> str:
    r"""Escape control characters and bytes that are not UTF-8 in a file name as \xNN, so that any file or page can hold it."""
    return plain(name.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="backslashreplace"))


def joined(class_names: Sequence[str], parts: Sequence[tuple[int, Images, np.ndarray]], containers: Sequence[Path]) -> Catalog:
    """Make one catalog of several parts.

    Args:
        class_names: one per class.
        parts: split (TRAIN, VAL or UNSPLIT), images and labels of each.
        containers: files and folders that contain the images.

    Raises:
        ValueError: a part has different numbers of images and labels, or a label that is not a class.
    """
    for split, images, labels in parts:
        where = f"the {'validation' if split == VAL else 'training'} set of data.path"
        if len(images) != len(labels):
            raise ValueError(f"{where} has {len(images)} images and {len(labels)} labels")
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(class_names):
            low, high = labels.min(), labels.max()
            raise ValueError(f"{where} has labels from {low} to {high}; accepted: 0 to {len(class_names) - 1}, each a class")
    return Catalog(
        class_names=tuple(map(readable, class_names)),
        images=Joined([images for _, images, _ in parts]),
        labels=np.concatenate([np.asarray(labels, dtype=np.int32) for _, _, labels in parts]),
        splits=np.concatenate([np.full(len(images), split, dtype=np.int8) for split, images, _ in parts]),
        containers=tuple(containers),
    )
