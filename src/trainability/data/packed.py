"""A pack: a data set whose images are rescaled once and stored in a few large files, read by position from any process.

A pack is a folder:

    pack.json         description and a checksum per file; written last, so a folder that has it is complete
    index.npy         one row per image: shard, offset, length, height, width, label, split
    sums.npy          one row per image: `colour_statistics.pixel_sums`, whose totals give any split's mean, std, covariance
    shard-00000.bin   the images one after the other, each a JPEG of quality 95, or raw RGB
    broken.txt        the images that could not be read, and why

A pack does not depend on its location: it can be moved, and given as `--data.path`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainability.data.images import decode_plain_jpeg

FORMAT = 1
ROW = np.dtype(
    [
        ("offset", "<i8"),
        ("length", "<i4"),
        ("shard", "<i4"),
        ("height", "<i4"),
        ("width", "<i4"),
        ("label", "<i4"),
        ("split", "<i1"),
    ]
)
MOST_OPEN_FILES = 128

Progress = Callable[[str, int, int], None]
"""Called with the stage ("packing", "verifying"), how many images or files are done, and how many there are."""


@dataclass(frozen=True, kw_only=True)
class PackInfo:
    """The contents of `pack.json`.

    Attributes:
        source: name of the data set.
        size: smaller side of every image, in pixels.
        encoding: "jpeg" or "raw".
        class_names: one per class.
        num_images: in the pack, without the broken ones.
        broken: name and reason of every image that could not be read.
        files: every file's name -> size in bytes and SHA-256.
        format: version of this layout.
    """

    source: str
    size: int
    encoding: str
    class_names: tuple[str, ...]
    num_images: int
    broken: tuple[str, ...]
    files: dict[str, tuple[int, str]]
    format: int = FORMAT


class Pack:
    """A finished pack, open for reading. Forked processes can share it: every read gives its own offset."""

    def __init__(self, folder: Path) -> None:
        """Open a pack.

        Raises:
            ValueError: it is not a finished pack, or one of its files is missing or has another size.
        """
        self.folder = folder
        self.info = read_info(folder)
        for name, (num_bytes, _) in self.info.files.items():
            path = folder / name
            if not path.is_file() or path.stat().st_size != num_bytes:
                raise ValueError(
                    f"{path}: missing, or not of {num_bytes} bytes; the pack is damaged, remove {folder} and pack again"
                )
        self.index = np.load(folder / "index.npy", mmap_mode="r")
        self.sums = np.load(folder / "sums.npy", mmap_mode="r")
        self.files: dict[int, int] = {}

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.index)

    def __reduce__(self) -> tuple[type[Pack], tuple[Path]]:
        """Pickle only the folder: open files belong to a process."""
        return Pack, (self.folder,)

    def __del__(self) -> None:
        """Close the shards."""
        for descriptor in getattr(self, "files", {}).values():
            os.close(descriptor)

    def read(self, position: int) -> np.ndarray:
        """Read a whole image. Returns (height, width, 3) uint8."""
        row = self.index[position]
        data = self._bytes(row, 0, int(row["length"]))
        if self.info.encoding == "raw":
            return np.frombuffer(data, dtype=np.uint8).reshape(int(row["height"]), int(row["width"]), 3)
        try:
            return decode_plain_jpeg(data)
        except ValueError as error:
            raise self._damaged(row, str(error)) from None

    def read_window(self, position: int, top: int, left: int, out: np.ndarray) -> None:
        """Read a window of an image; of a raw image, only the rows of the window.

        Args:
            position: of the image.
            top: first row of the window.
            left: first column.
            out: (height, width, 3) uint8, filled; pixels beyond the image are left unchanged.
        """
        row = self.index[position]
        height, width = out.shape[:2]
        if self.info.encoding == "raw":
            columns = int(row["width"])
            num_rows = min(height, int(row["height"]) - top)
            data = self._bytes(row, top * columns * 3, num_rows * columns * 3)
            window = np.frombuffer(data, dtype=np.uint8).reshape(num_rows, columns, 3)[:, left : left + width]
        else:
            window = self.read(position)[top : top + height, left : left + width]
        out[: window.shape[0], : window.shape[1]] = window

    def _bytes(self, row: np.void, start: int, length: int) -> bytes:
        shard = int(row["shard"])
        descriptor = self.files.get(shard)
        if descriptor is None:
            if len(self.files) >= MOST_OPEN_FILES:
                os.close(self.files.pop(next(iter(self.files))))
            descriptor = self.files[shard] = os.open(self.folder / shard_name(shard), os.O_RDONLY)
        data = os.pread(descriptor, length, int(row["offset"]) + start)
        if len(data) != length:
            raise self._damaged(row, "it is truncated")
        return data

    def _damaged(self, row: np.void, reason: str) -> ValueError:
        return ValueError(
            f"{self.folder / shard_name(int(row['shard']))}: the image at byte {row['offset']} cannot be read ({reason});"
            " pack again: it checks every file and replaces the damaged ones"
        )


@dataclass(frozen=True)
class PackedImages:
    """A selection of a pack's images, in any order; as with a tensor, `images[number]` is (height, width, 3) uint8.

    Attributes:
        pack: that holds them.
        positions: (num,) int64 in the pack.
    """

    pack: Pack
    positions: np.ndarray

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.positions)

    def __getitem__(self, number: int) -> Tensor:
        """Read a whole image. Returns (height, width, 3) uint8."""
        return torch.from_numpy(self.pack.read(int(self.positions[number])).copy())

    def shapes(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return heights and widths in pixels, (len(numbers),) int64 each."""
        rows = self.pack.index[self.positions[numbers]]
        return rows["height"].astype(np.int64), rows["width"].astype(np.int64)

    def stacked(self) -> Tensor:
        """Read all images into one tensor, (num, height, width, 3) uint8; only if `common_shape` is not `None`."""
        shape = self.common_shape()
        assert shape is not None
        pixels = np.empty((len(self), *shape, 3), dtype=np.uint8)
        for number, position in enumerate(self.positions.tolist()):
            self.pack.read_window(position, 0, 0, pixels[number])
        return torch.from_numpy(pixels)

    def common_shape(self) -> tuple[int, int] | None:
        """Return the height and width of all images, or `None` if they differ."""
        rows = self.pack.index[self.positions]
        height, width = int(rows["height"][0]), int(rows["width"][0])
        is_same = (rows["height"] == height).all() and (rows["width"] == width).all()
        return (height, width) if is_same else None


def shard_name(number: int) -> str:
    """Return the file name of a shard."""
    return f"shard-{number:05d}.bin"


def is_pack(folder: Path) -> bool:
    """Whether a folder holds a finished pack."""
    return (folder / "pack.json").is_file()


def read_info(folder: Path) -> PackInfo:
    """Read `pack.json`.

    Raises:
        ValueError: there is none, or it has another format.
    """
    path = folder / "pack.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        found = values["format"]
        if found == FORMAT:
            values["class_names"], values["broken"] = tuple(values["class_names"]), tuple(values["broken"])
            return PackInfo(**values)
    except OSError:
        raise ValueError(f"{folder} is not a finished pack: it has no pack.json") from None
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path}: damaged; remove {folder} and pack again") from None
    raise ValueError(f"{path}: a pack of format {found}; this version reads {FORMAT}; remove {folder} and pack again")


def write_json(path: Path, value: object) -> None:
    """Write a JSON file atomically: under a temporary name, flushed to disk, then renamed."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with partial.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_info(folder: Path, info: PackInfo) -> None:
    """Write `pack.json`, which marks the pack as finished."""
    write_json(folder / "pack.json", dataclasses.asdict(info))


def checksum(path: Path) -> str:
    """Compute the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def damaged_files(folder: Path, files: dict[str, tuple[int, str]], progress: Progress | None = None) -> list[str]:
    """Read files again and list those that differ from what was written."""
    damaged = []
    for done, (name, (num_bytes, expected)) in enumerate(files.items(), start=1):
        path = folder / name
        if not path.is_file() or path.stat().st_size != num_bytes or checksum(path) != expected:
            damaged.append(name)
        if progress is not None:
            progress("verifying", done, len(files))
    return damaged


def verify(folder: Path, progress: Progress | None = None) -> PackInfo:
    """Check every file of a finished pack against its checksum.

    Raises:
        ValueError: it is not a finished pack, or files are damaged; the message gives the first.
    """
    info = read_info(folder)
    damaged = damaged_files(folder, info.files, progress)
    if damaged:
        raise ValueError(
            f"{folder / damaged[0]}: {len(damaged)} of {len(info.files)} files do not have their checksum; pack again"
        )
    return info
