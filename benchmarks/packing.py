"""What packing costs beside what it cannot do without: decoding, rescaling and encoding the same images.

    python benchmarks/packing.py                     # some three minutes
    python benchmarks/packing.py --images 1024 --turns 2 --out /tmp/packing.json

CIFAR-10 is packed to 256 pixels as JPEG, MNIST to 32 pixels raw, as `trainability pack` does it once the set is listed: with
its progress, checksums, colour statistics and the reading back of every file. The plain loop has the images in memory
(CIFAR-10's as JPEG files, MNIST's as grey pixels), decodes them to RGB with `simplejpeg` or repeats the grey, rescales with
Pillow, encodes with `simplejpeg` or takes the bytes, and drops what comes out, in stretches of 128 images that a process per
core takes in turn. Packing and loop alternate; a ratio is what the loop took over what packing took (goal: at least 0.8), by
the clock and in processor time of all processes.

`data-root` has the folders mnist (the idx files) and cifar10 (train.parquet). A set that is not there is skipped in favour
of generated images of the same shape.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
from loading import photographs
from PIL import Image
from rich.console import Console

from trainability.cli.progress import progress_of
from trainability.config import DataConfig
from trainability.data.catalog import TRAIN, ArrayImages, Catalog, Images, joined
from trainability.data.layouts import catalog_of
from trainability.data.packing import pack_catalog
from trainability.data.workers import Workers, num_cpus
from trainability.training.record import environment

DATA = Path(__file__).parents[2] / "shared" / "data"
RESULTS = Path(__file__).parent / "results" / "packing.json"
GOAL = 0.8
STRETCH = 128
"""Images that a process of the plain loop is given at a time."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A set and what it is packed to; of small images all, since of few most is starting and ending."""

    name: str
    size: int
    encoding: str
    images: int


TASKS = (
    Task(name="cifar10", size=256, encoding="jpeg", images=4096),
    Task(name="mnist", size=32, encoding="raw", images=70_000),
)


@dataclass(frozen=True)
class First:
    """The first images of a collection."""

    images: Images
    num: int

    def __len__(self) -> int:
        """Return the number of images."""
        return self.num

    def read(self, position: int) -> bytes | np.ndarray:
        """Read one."""
        return self.images.read(position)

    def name(self, position: int) -> str:
        """Return its name."""
        return self.images.name(position)


def first(catalog: Catalog, num: int) -> Catalog:
    """Cut a catalog off."""
    num = min(num, len(catalog.labels))
    return Catalog(
        class_names=catalog.class_names,
        images=First(catalog.images, num),
        labels=catalog.labels[:num],
        splits=catalog.splits[:num],
        containers=catalog.containers,
    )


class Encoded(ArrayImages):
    """Pixels that are read as JPEG files."""

    def read(self, position: int) -> bytes:  # type: ignore[override]
        """Return an image file."""
        return simplejpeg.encode_jpeg(np.ascontiguousarray(self.pixels[position]), quality=90)


def generated(task: Task, num: int) -> Catalog:
    """Generate images of the set's shape: JPEG files of 32 pixels, or grey pixels of 28."""
    few = photographs(64, 32, 32)
    pixels = np.tile(few, (-(-num // len(few)), 1, 1, 1))[:num]
    images = ArrayImages(pixels[:, :28, :28, 0], "image") if task.encoding == "raw" else Encoded(pixels, "image")
    return joined([str(label) for label in range(10)], [(TRAIN, images, np.arange(num) % 10)], [])


def converted(task: Task, stored: list[bytes] | list[np.ndarray], start: int) -> int:
    """Decode, rescale and encode a stretch of the images. Returns the bytes that come out."""
    num_bytes = 0
    for data in stored[start : start + STRETCH]:
        pixels = simplejpeg.decode_jpeg(data) if isinstance(data, bytes) else np.repeat(data[:, :, None], 3, axis=2)
        rescaled = Image.fromarray(pixels).resize((task.size, task.size), Image.Resampling.BICUBIC)
        if task.encoding == "raw":
            num_bytes += len(rescaled.tobytes())
        else:
            num_bytes += len(simplejpeg.encode_jpeg(np.asarray(rescaled), quality=95, colorsubsampling="420"))
    return num_bytes


def plain_loop(task: Task, stored: list[bytes] | list[np.ndarray]) -> None:
    """Convert all images on all cores; forked processes have the stored images without a copy."""
    workers = Workers(functools.partial(converted, task, stored), num_cpus())
    sum(workers.as_completed(range(0, len(stored), STRETCH)))
    workers.close()


def in_memory(images: Images) -> list[Any]:
    """Read image files, or grey pixels."""
    stored = (images.read(position) for position in range(len(images)))
    return [data if isinstance(data, bytes) else np.ascontiguousarray(data[..., 0]) for data in stored]


def seconds_of(work: Callable[[], object]) -> tuple[float, float]:
    """Measure a call by the clock, and in processor time of this process and of those that it started and waited for."""
    before, started = os.times(), time.perf_counter()
    work()
    clock, after = time.perf_counter() - started, os.times()
    return clock, sum(after[:4]) - sum(before[:4])


def measured(task: Task, catalog: Catalog, turns: int, console: Console) -> dict[str, Any]:
    """Take turns."""
    stored = in_memory(catalog.images)
    taken: dict[str, list[tuple[float, float]]] = {"loop": [], "pack": []}
    for _ in range(turns):
        taken["loop"].append(seconds_of(lambda: plain_loop(task, stored)))
        with tempfile.TemporaryDirectory() as folder, progress_of(console) as progress:
            pack = functools.partial(pack_catalog, catalog, Path(folder) / "pack", source=task.name, progress=progress)
            taken["pack"].append(seconds_of(lambda pack=pack: pack(size=task.size, encoding=task.encoding)))
    pairs = list(zip(taken["loop"], taken["pack"], strict=True))
    return {
        "images": len(stored),
        "turns": turns,
        "size": task.size,
        "encoding": task.encoding,
        "images_per_second": {name: len(stored) / statistics.median(c for c, _ in values) for name, values in taken.items()},
        "loop_over_pack_by_the_clock": statistics.quantiles([loop[0] / pack[0] for loop, pack in pairs], n=4),
        "loop_over_pack_in_processor_time": statistics.quantiles([loop[1] / pack[1] for loop, pack in pairs], n=4),
    }


def main() -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=DATA)
    parser.add_argument("--images", type=int, help="at most, of each set; otherwise 4,096 of CIFAR-10 and all of MNIST")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    console, rows = Console(width=140), {}
    for task in TASKS:
        folder, num = arguments.data_root / task.name, arguments.images or task.images
        if folder.is_dir():
            catalog, what = first(catalog_of(DataConfig(name=task.name, path=folder)), num), task.name
        else:
            catalog, what = generated(task, num), f"generated, as {task.name}"
            console.print(f"{task.name} is skipped: {folder} is not there")
        rows[what] = row = measured(task, catalog, arguments.turns, console)
        for by in ("by the clock", "in processor time"):
            low, middle, high = row[f"loop_over_pack_{by.replace(' ', '_')}"]
            met = "met" if middle >= GOAL else "MISSED"
            console.print(f"{what} to {task.size}: {middle:.2f} ({low:.2f} to {high:.2f}) {by}; goal {GOAL:g}: {met}")
    where = environment(device=torch.device("cpu"), world_size=1)
    del where["command"]
    where["cores"] = num_cpus()
    arguments.out.write_text(json.dumps({"environment": where, "sets": rows}, indent=1) + "\n")
    console.print(f"written to {os.path.relpath(arguments.out)}")


if __name__ == "__main__":
    main()
