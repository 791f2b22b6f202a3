"""Make a pack: several processes decode, rescale and write every image of a catalog; it can be restarted at any time.

A shard holds a fixed range of the catalog, so shards are made in any order, and a complete shard is never made again.
A killed process leaves a file with a temporary name, which the next start removes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainability.data.catalog import TRAIN, UNSPLIT, VAL, Catalog
from trainability.data.colour_statistics import NUM_SUMS, image_sums
from trainability.data.images import decode, encode_jpeg, is_grey, rescale
from trainability.data.origin import SOURCE, Origin, json_or_none, origin_of
from trainability.data.packed import (
    FORMAT,
    READABLE,
    ROW,
    PackInfo,
    Progress,
    damaged_files,
    is_pack,
    read_info,
    shard_name,
    write_info,
)
from trainability.data.workers import Workers, num_cpus
from trainability.disk import lock, stamped, whole
from trainability.disk.stamped import stamp

SHARD_IMAGES = 1024
"""Images per shard: a few seconds of work for one core, the most that a kill loses. ImageNet gives 1,301 files of 45 MB."""
OWN_FILES = ("pack.json", SOURCE, "broken.txt", "index.npy", "sums.npy", "shard-?????.*")
"""The files of a pack; starting over removes exactly these."""
MOST_BROKEN_FRACTION = 0.01
"""With more broken images than this, the source itself is wrong: another folder, or an unfinished copy."""
ROWS_PER_SUMMED = 4
"""For an image that is stored as JPEG, one in so many rows is summed; the first row differs from image to image. Summing all
rows would take a quarter of the time of packing. On 512 images of CIFAR-10 at 256 pixels, this changes means by 0.004 of 255
and standard deviations by 0.010; the rounding of JPEG changes both by 0.018."""
_BYTES_SUMMED = 2**20
"""Bytes of pixels whose sums are computed together, in memory that is allocated once."""


@dataclass(frozen=True, kw_only=True)
class PackResult:
    """The result of packing.

    Attributes:
        folder: the pack.
        num_train: images in the source's training split.
        num_val: images in the source's validation split.
        num_unsplit: images without a split, which every run's random seed splits.
        num_classes: number of classes.
        num_bytes: of all files.
        broken: name and reason of every image that could not be read.
        num_shards_made: 0 if the pack existed and was only verified.
    """

    folder: Path
    num_train: int
    num_val: int
    num_unsplit: int
    num_classes: int
    num_bytes: int
    broken: tuple[str, ...]
    num_shards_made: int


@dataclass(frozen=True, kw_only=True)
class ShardResult:
    """The contents of `shard-NNNNN.json` of a complete shard: its range of the catalog, its files and the broken images."""

    number: int
    num_images: int
    files: dict[str, list[Any]]
    broken: tuple[str, ...]


def pack_catalog(
    catalog: Catalog,
    folder: Path,
    *,
    source: str,
    size: int,
    encoding: str,
    num_workers: int | None = None,
    progress: Progress | None = None,
) -> PackResult:
    """Pack a data set, continuing where an earlier start stopped; then read everything again and compare checksums.

    Args:
        catalog: what to pack.
        folder: of the pack, created if missing. If several processes make the same pack, one makes it and the others wait.
        source: name of the data set.
        size: smaller side of the rescaled images.
        encoding: "jpeg" or "raw".
        num_workers: processes; `None` for one per core.
        progress: called with the progress.

    Raises:
        ValueError: more than 1 % of the images are broken, or the disk is full; finished shards are kept.
    """
    origin = origin_of(catalog, source=source, size=size, encoding=encoding)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with lock.held(folder, wait=True):
            num_made = _brought_up_to_date(catalog, folder, origin, num_workers, progress)
            return _summary(folder, num_made)
    except OSError as error:
        raise ValueError(f"{folder}: packing stopped ({error.strerror or error}); start it again to go on from here") from None


def _brought_up_to_date(
    catalog: Catalog, folder: Path, origin: Origin, num_workers: int | None, progress: Progress | None
) -> int:
    """Make the missing shards, then the files that combine them. Returns the number of shards made."""
    before = json_or_none(folder / SOURCE)
    if isinstance(before, dict) and before.get("format") in READABLE:  # its shards are kept, and missing ones are added
        before["format"] = FORMAT
    if before != dataclasses.asdict(origin):
        for pattern in OWN_FILES:
            for path in folder.glob(pattern):
                path.unlink()
        whole.write(folder / SOURCE, json.dumps(dataclasses.asdict(origin), indent=1).encode())
    whole.remove_partials(folder)
    if is_pack(folder):
        try:
            damaged = damaged_files(folder, read_info(folder).files, progress)
            if not damaged:
                return 0
        except ValueError:  # it can be written again from the shards' own notes
            damaged = []
        (folder / "pack.json").unlink()
        for name in damaged:
            (folder / name).with_suffix(".json").unlink(missing_ok=True)
    num_shards = -(-len(catalog.labels) // SHARD_IMAGES)
    done = {number: shard for number in range(num_shards) if (shard := _finished_shard(folder, number)) is not None}
    missing = [number for number in range(num_shards) if number not in done]
    _make_shards(catalog, folder, origin, missing, done, num_workers, progress)
    _finish(folder, origin, [done[number] for number in range(num_shards)], progress)
    return len(missing)


def _make_shards(
    catalog: Catalog,
    folder: Path,
    origin: Origin,
    missing: list[int],
    done: dict[int, ShardResult],
    num_workers: int | None,
    progress: Progress | None,
) -> None:
    """Make the missing shards, and add them to the finished ones.

    Raises:
        ValueError: too many broken images.
    """
    num_images = len(catalog.labels)
    broken = [line for shard in done.values() for line in shard.broken]
    num_done = sum(shard.num_images + len(shard.broken) for shard in done.values())
    parent = os.getpid()

    def make(number: int) -> ShardResult:
        return make_shard(catalog, folder, number, size=origin.size, encoding=origin.encoding, parent=parent)

    if progress is not None:
        progress("packing", num_done, num_images)
    workers = Workers(make, max(1, min(num_workers or num_cpus(), len(missing))))
    try:
        for shard in workers.as_completed(missing):
            done[shard.number] = shard
            broken += shard.broken
            num_done += shard.num_images + len(shard.broken)
            if progress is not None:
                progress("packing", num_done, num_images)
            if len(broken) > MOST_BROKEN_FRACTION * num_images:
                _write_broken(folder, sorted(broken))
                raise ValueError(
                    f"{len(broken)} of the first {num_done} images are broken, more than "
                    f"{100 * MOST_BROKEN_FRACTION:.0f} % of all"
                    f" {num_images}: {broken[0]}; all are in {folder / 'broken.txt'}"
                )
    finally:
        workers.close()


def make_shard(catalog: Catalog, folder: Path, number: int, *, size: int, encoding: str, parent: int) -> ShardResult:
    """Write one shard: its images, its rows, and last the note that it is complete.

    Args:
        catalog: what is packed.
        folder: the pack.
        number: of the shard.
        size: smaller side of the rescaled images.
        encoding: "jpeg" or "raw".
        parent: the packing process; if it is gone, the shard is abandoned.
    """
    stretch = range(number * SHARD_IMAGES, min((number + 1) * SHARD_IMAGES, len(catalog.labels)))
    labels, splits = (
        catalog.labels[stretch.start : stretch.stop].tolist(),
        catalog.splits[stretch.start : stretch.stop].tolist(),
    )
    rows, sums, broken = [], _Sums(), []
    shard, tables = folder / shard_name(number), folder / f"shard-{number:05d}.npz"
    digest, offset = hashlib.sha256(), 0
    is_child = os.getpid() != parent
    with whole.replacing(shard, syncs_folder=False) as file:
        for position, label, split in zip(stretch, labels, splits, strict=True):
            if is_child and os.getppid() != parent:
                os._exit(1)
            try:
                data = catalog.images.read(position)
                pixels = rescale(decode(data) if isinstance(data, bytes) else data, size, padded=encoding == "jpeg")
            except (ValueError, OSError) as error:
                broken.append(f"{catalog.images.name(position)}: {error}")
                continue
            summed = pixels[..., :1] if is_grey(pixels) else pixels
            stored = encode_jpeg(pixels) if encoding == "jpeg" else summed.tobytes()
            file.write(stored)
            digest.update(stored)
            rows.append((offset, len(stored), number, *pixels.shape[:2], label, split, zlib.crc32(stored)))
            sums.add(summed if encoding == "raw" else summed[position % ROWS_PER_SUMMED :: ROWS_PER_SUMMED])
            offset += len(stored)
    with whole.replacing(tables, syncs_folder=False) as file:
        np.savez(file, rows=np.array(rows, dtype=ROW), sums=sums.table())
    files = {shard.name: [offset, digest.hexdigest()], tables.name: stamp(tables)}
    result = ShardResult(number=number, num_images=len(rows), files=files, broken=tuple(broken))
    stamped.write(folder / f"shard-{number:05d}.json", dataclasses.asdict(result))
    return result


class _Sums:
    """`image_sums` of one image after another, computed for several at a time: for small images the call would dominate."""

    def __init__(self) -> None:
        self.waiting: list[np.ndarray] = []
        self.done: list[np.ndarray] = [np.empty((0, NUM_SUMS), dtype=np.int64)]

    def add(self, pixels: np.ndarray) -> None:
        """Take pixels of the next image, (height, width, 3 or padded to 4, or 1 of a grey one) uint8."""
        if self.waiting and (self.waiting[0].shape != pixels.shape or len(self.waiting) * pixels.size >= _BYTES_SUMMED):
            self._sum()
        self.waiting.append(pixels)

    def table(self) -> np.ndarray:
        """Return the sums of all images, (num, 10) int64."""
        self._sum()
        return np.concatenate(self.done)

    def _sum(self) -> None:
        if self.waiting:
            self.done.append(image_sums(self.waiting))
            self.waiting.clear()


def _finished_shard(folder: Path, number: int) -> ShardResult | None:
    """Read the note of a complete shard. A shard with broken images is made again, because they may have been repaired."""
    try:
        note = stamped.read(folder / f"shard-{number:05d}.json")
    except (OSError, ValueError):
        return None
    if note["broken"]:
        return None
    for name, (num_bytes, _) in note["files"].items():
        if not (folder / name).is_file() or (folder / name).stat().st_size != num_bytes:
            return None
    return ShardResult(number=number, num_images=note["num_images"], files=note["files"], broken=())


def _finish(folder: Path, origin: Origin, shards: list[ShardResult], progress: Progress | None) -> None:
    """Join the shards' rows, read all files again, and write `pack.json`."""
    written = {name: values for shard in shards for name, values in shard.files.items()}
    damaged = damaged_files(folder, written, progress)
    for name in damaged:
        (folder / name).with_suffix(".json").unlink(missing_ok=True)
    if damaged:
        raise ValueError(f"{folder / damaged[0]}: reads back different from what was written; check the disk and pack again")
    tables = [np.load(folder / f"shard-{shard.number:05d}.npz") for shard in shards]
    for name, key in (("index.npy", "rows"), ("sums.npy", "sums")):
        with whole.replacing(folder / name) as file:
            np.save(file, np.concatenate([table[key] for table in tables]))
        written[name] = stamp(folder / name)
    for table in tables:
        table.close()
    broken = tuple(line for shard in shards for line in shard.broken)
    _write_broken(folder, broken)
    whole.remove_partials(folder)  # of workers that outlived a killed start by a moment
    write_info(
        folder,
        PackInfo(
            source=origin.source,
            size=origin.size,
            encoding=origin.encoding,
            class_names=tuple(origin.class_names),
            num_images=sum(shard.num_images for shard in shards),
            broken=broken,
            files=written,
        ),
    )


def _write_broken(folder: Path, broken: Iterable[str]) -> None:
    whole.write(folder / "broken.txt", "".join(f"{line}\n" for line in broken).encode("utf-8", errors="surrogateescape"))


def _summary(folder: Path, num_made: int) -> PackResult:
    info = read_info(folder)
    splits = np.load(folder / "index.npy")["split"]
    return PackResult(
        folder=folder,
        num_train=int((splits == TRAIN).sum()),
        num_val=int((splits == VAL).sum()),
        num_unsplit=int((splits == UNSPLIT).sum()),
        num_classes=len(info.class_names),
        num_bytes=sum(num_bytes for num_bytes, _ in info.files.values()),
        broken=info.broken,
        num_shards_made=num_made,
    )
