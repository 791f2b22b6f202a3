"""A pack: a data set whose images are rescaled once and stored in a few large files, read by position from any process.

A pack is a folder:

    pack.json         description and a checksum per file; written last, so a folder that has it is complete
    index.npy         one row per image: shard, offset, length, height, width, label, split, CRC-32 of its bytes
    sums.npy          one row per image: `colour_statistics.pixel_sums`, whose totals give any split's mean, std, covariance; of
                      a JPEG over a quarter of its rows
    shard-00000.bin   the images one after the other, each a JPEG of quality 95, or raw RGB; of grey pixels one channel
    broken.txt        the images that could not be read, and why

A pack does not depend on its location: it can be moved, and given as `--data.path`. Opening it compares the checksums of
pack.json, index.npy and sums.npy; reading an image compares its CRC-32. So no damaged byte is trained on.
"""

from __future__ import annotations

import dataclasses
import json
import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainability.data.catalog import TRAIN, UNSPLIT, VAL
from trainability.data.colour_statistics import NUM_SUMS
from trainability.data.images import decode_plain_jpeg
from trainability.data.workers import num_cpus
from trainability.disk import regular, stamped
from trainability.disk.stamped import stamp

FORMAT = 3
READABLE = (2, FORMAT)
"""Format 1 had no checksum per image; such a pack is made again. Format 2 stored grey images as three equal channels."""
ROW = np.dtype(
    [
        ("offset", "<i8"),
        ("length", "<i4"),
        ("shard", "<i4"),
        ("height", "<i4"),
        ("width", "<i4"),
        ("label", "<i4"),
        ("split", "<i1"),
        ("crc", "<u4"),
    ]
)
MOST_OPEN_FILES = 128
_REPAIR = "remove {folder} and pack again"

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
    files: dict[str, list[Any]]
    format: int = FORMAT


class Pack:
    """A finished pack, open for reading. Forked processes can share it, because every read passes its own offset."""

    def __init__(self, folder: Path) -> None:
        """Open a pack.

        Raises:
            ValueError: it is not a finished pack, one of its files is missing or has another size, or its tables are damaged.
        """
        self.folder = folder
        self.info = read_info(folder)
        for name, (num_bytes, _) in self.info.files.items():
            path = folder / name
            if not path.is_file() or path.stat().st_size != num_bytes:
                raise ValueError(f"{path}: missing, or not of {num_bytes} bytes; {_REPAIR.format(folder=folder)}")
        self.index = self._table("index.npy", ROW, ())
        self.sums = self._table("sums.npy", np.dtype(np.int64), (NUM_SUMS,))
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
        data = self._bytes(row)
        shape = (int(row["height"]), int(row["width"]))
        if self.info.encoding == "raw":
            pixels = np.frombuffer(data, dtype=np.uint8).reshape(*shape, -1)
            return pixels if pixels.shape[2] == 3 else np.broadcast_to(pixels, (*shape, 3))
        try:
            return decode_plain_jpeg(data, shape=shape)
        except ValueError as error:
            raise self._damaged(row, str(error)) from None

    def read_window(self, position: int, top: int, left: int, out: np.ndarray) -> None:
        """Read a window of an image.

        Args:
            position: of the image.
            top: first row of the window.
            left: first column.
            out: (height, width, 3) uint8, filled; pixels beyond the image are left unchanged.
        """
        height, width = out.shape[:2]
        window = self.read(position)[top : top + height, left : left + width]
        out[: window.shape[0], : window.shape[1]] = window

    def _bytes(self, row: np.void) -> bytes:
        """Read the stored bytes of an image, and compare their checksum."""
        shard, length = int(row["shard"]), int(row["length"])
        descriptor = self.files.get(shard)
        if descriptor is None:
            if len(self.files) >= MOST_OPEN_FILES:
                os.close(self.files.pop(next(iter(self.files))))
            descriptor = self.files[shard] = os.open(self.folder / shard_name(shard), os.O_RDONLY)
        data = os.pread(descriptor, length, int(row["offset"]))
        if len(data) != length:
            raise self._damaged(row, "it is truncated")
        if zlib.crc32(data) != row["crc"]:
            raise self._damaged(row, "its checksum is wrong")
        return data

    def _table(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
        """Memory-map a table with a row per image, after verifying its checksum."""
        path = self.folder / name
        try:
            if stamp(path) == self.info.files[name]:
                table = np.load(path, mmap_mode="r")
                is_table = table.dtype == dtype and table.shape == (self.info.num_images, *shape)
                if is_table and (dtype != ROW or is_index_of(self.info, table)):
                    return table
        except (OSError, ValueError, KeyError):
            pass
        raise ValueError(f"{path}: damaged; {_REPAIR.format(folder=self.folder)}")

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
        ValueError: there is none, it was changed or damaged, or it has another format.
    """
    path = folder / "pack.json"
    try:
        found = format_of(folder)
        if found not in READABLE:
            reads = " and ".join(map(str, READABLE))
            raise ValueError(f"{path}: a pack of format {found}; this version reads {reads}; {_REPAIR.format(folder=folder)}")
        return _info_of(stamped.read(path))
    except FileNotFoundError:
        raise ValueError(f"{folder} is not a finished pack: it has no pack.json") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from None
    except (TypeError, KeyError, AttributeError, stamped.Damaged):
        raise ValueError(f"{path}: damaged, or not what this version writes; {_REPAIR.format(folder=folder)}") from None


def _info_of(values: dict[str, Any]) -> PackInfo:
    """Check the types of the values in `pack.json`, which may come from anywhere.

    Raises:
        TypeError, KeyError, AttributeError: a value is missing or has another type.
    """
    for name in ("class_names", "broken"):
        if not isinstance(values[name], list):
            raise TypeError
        values[name] = tuple(values[name])
    info = PackInfo(**values)
    is_plain = (
        all(isinstance(text, str) for text in (info.source, info.encoding, *info.class_names, *info.broken))
        and all(Path(name).name == name for name in info.files)
        and all([type(part) for part in stamp] == [int, str] for stamp in info.files.values())
        and type(info.size) is type(info.num_images) is int
        and min(info.num_images, info.size) > 0
        and info.encoding in ("jpeg", "raw")
    )
    if not is_plain:
        raise TypeError
    return info


def is_index_of(info: PackInfo, rows: np.ndarray) -> bool:
    """Whether every row of an index lies in its shard, has a class, a split and a shape, and pixels of that shape if raw."""
    sizes = {name: num_bytes for name, (num_bytes, _) in info.files.items()}
    ends = rows["offset"] + rows["length"]
    for shard in np.unique(rows["shard"]).tolist():
        if ends[rows["shard"] == shard].max() > sizes.get(shard_name(shard), -1):
            return False
    area = rows["height"].astype(np.int64) * rows["width"]
    return bool(
        (rows["offset"] >= 0).all()
        and (rows["length"] > 0).all()
        and (rows["height"] > 0).all()
        and (rows["width"] > 0).all()
        and np.isin(rows["split"], (TRAIN, VAL, UNSPLIT)).all()
        and ((rows["label"] >= 0) & (rows["label"] < len(info.class_names))).all()
        and (info.encoding != "raw" or ((rows["length"] == 3 * area) | (rows["length"] == area)).all())
    )


def format_of(folder: Path) -> int:
    """Read the format of a finished pack, which may differ from this version's.

    Raises:
        OSError: there is none, or it cannot be read.
        ValueError: it does not contain one.
    """
    path = folder / "pack.json"
    try:
        found = json.loads(regular.read(path))["format"]
    except (ValueError, KeyError, TypeError, RecursionError):
        found = None
    if type(found) is not int:
        raise ValueError(f"{path}: damaged; {_REPAIR.format(folder=folder)}")
    return found


def write_info(folder: Path, info: PackInfo) -> None:
    """Write `pack.json`, which marks the pack as finished."""
    stamped.write(folder / "pack.json", dataclasses.asdict(info))


def damaged_files(folder: Path, files: dict[str, list[Any]], progress: Progress | None = None) -> list[str]:
    """Read files again, one per core at a time, and list those that differ from what was written."""

    def is_damaged(name: str) -> bool:
        path, expected = folder / name, files[name]
        return not path.is_file() or path.stat().st_size != expected[0] or stamp(path) != expected

    damaged = []
    with ThreadPoolExecutor(num_cpus()) as threads:  # reading and SHA-256 let the other threads run
        for done, (name, found) in enumerate(zip(files, threads.map(is_damaged, files), strict=True), start=1):
            if found:
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
