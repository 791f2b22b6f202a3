"""How fast and in how much memory images reach the network: streamed from a pack, against what they could be compared with.

Everything of one table is measured in one run, in turns, so that a busy machine slows all of it. Each has one process that
decodes, and its rate is per second of that process's own time on a core: what a core gives, whoever else wants it. (The rate
by the clock is printed beside it; on an idle machine they agree.)

- bare: `simplejpeg` decoding the pack's own bytes, and nothing else.
- streamed: `StreamingLoader` on the JPEG pack. What it leaves to the device costs nothing here (the device is torch's "meta").
- raw: the same on a raw pack.
- usual: the per-image pipeline that tutorials show, on the pack's JPEGs as files: Pillow, random crop, flip, to float,
  normalise, in a worker of torch's DataLoader.
- originals: the same on files of 500 x 375 pixels, rescaled every time, which is what it does without a pack.

Goals: streamed / bare at least 0.85, streamed / usual at least 1.5, peak memory the same for ten times the images.

    python benchmarks/loading.py               # some five minutes
    python benchmarks/loading.py --short       # one minute, for a look
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from trainability.config import DataConfig, OptimConfig
from trainability.data import dataset
from trainability.data.builtin import pink_noise, standardised
from trainability.data.catalog import TRAIN, VAL, ArrayImages, Catalog, joined
from trainability.data.packed import Pack
from trainability.data.packing import pack_catalog
from trainability.data.streaming import StreamingLoader
from trainability.training.record import environment

RESULTS = Path(__file__).parent / "results" / "loading.json"
CROP, SIZE, BATCH_SIZE = 224, 256, 64


def photographs(num: int, height: int, width: int) -> np.ndarray:
    """Generate images with the spectrum of photographs, so that a JPEG of them is as large. Returns uint8."""
    side = max(height, width)
    noise = torch.cat([standardised(pink_noise(1, side, torch.Generator().manual_seed(seed))) for seed in range(num)])
    pixels = (120 + 60 * noise[:, :, :height, :width]).clamp(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).numpy()


class Repeated(ArrayImages):
    """A few images over and over, as many as wanted."""

    def __init__(self, pixels: np.ndarray, num: int) -> None:
        """Take the few, and how often."""
        super().__init__(pixels, "image")
        object.__setattr__(self, "num", num)

    def __len__(self) -> int:
        """Return the number of images."""
        return self.num  # type: ignore[attr-defined]

    def read(self, position: int) -> np.ndarray:
        """Return one of the few."""
        return super().read(position % len(self.pixels))


def catalog_of(images: ArrayImages) -> Catalog:
    """Make a set of two classes, the last 64 images for validation."""
    num = len(images)
    whole = joined(["even", "odd"], [(TRAIN, images, np.arange(num) % 2)], [])
    whole.splits[-64:] = VAL
    return whole


def streaming_loader(folder: Path, *, size: int, crop: int, device: str) -> StreamingLoader:
    """Open a pack for streaming with one worker."""
    config = DataConfig(name="folder", path=folder, size=size, crop=crop, flip=True, workers=1, resident_gib=None)
    data = dataset.load(config, seed=0)
    return StreamingLoader(data, config, OptimConfig(batch_size=BATCH_SIZE), seed=0, device=torch.device(device))


@dataclass(frozen=True)
class Contender:
    """Something that yields batches, and the process that decodes them."""

    batches: Iterator[Any]
    pid: int


def streamed(folder: Path) -> Contender:
    """Stream a pack, epoch after epoch."""
    loader = streaming_loader(folder, size=SIZE, crop=CROP, device="meta")

    def batches() -> Iterator[Tensor]:
        for epoch in itertools.count():
            for step in loader.steps(epoch):
                for micro in step:
                    yield micro.images

    pid = loader.workers.processes[0].pid
    assert pid is not None
    return Contender(batches(), pid)


class UsualDataset(Dataset[tuple[Tensor, int]]):
    """Image files, opened, augmented and normalised one by one."""

    def __init__(self, paths: list[Path], *, rescales: bool) -> None:
        """Take the files; `rescales` where their smaller side is not 256 yet."""
        self.paths, self.rescales = paths, rescales
        self.mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
        self.std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        """Return what the network is given."""
        with self.paths[number].open("rb") as file:
            image = Image.open(file).convert("RGB")
        if self.rescales:
            ratio = SIZE / min(image.size)
            image = image.resize((round(image.width * ratio), round(image.height * ratio)), Image.Resampling.BILINEAR)
        left, top = random.randint(0, image.width - CROP), random.randint(0, image.height - CROP)
        image = image.crop((left, top, left + CROP, top + CROP))
        if random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        values = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)
        return (values - self.mean) / self.std, number % 2


def usual(paths: list[Path], *, rescales: bool) -> Contender:
    """Run the usual pipeline, epoch after epoch."""
    loader = DataLoader(
        UsualDataset(paths, rescales=rescales), batch_size=BATCH_SIZE, shuffle=True, num_workers=1, persistent_workers=True
    )
    before = {child.pid for child in multiprocessing.active_children()}

    def batches() -> Iterator[Tensor]:
        while True:
            for images, _ in loader:
                yield images

    running = batches()
    next(running)
    (pid,) = {child.pid for child in multiprocessing.active_children()} - before
    assert pid is not None
    return Contender(running, pid)


def bare(pack: Pack) -> Contender:
    """Decode the pack's own bytes and do nothing with them."""
    shards = [path.read_bytes() for path in sorted(pack.folder.glob("shard-*.bin"))]
    rows = [(int(row["shard"]), int(row["offset"]), int(row["length"])) for row in pack.index]
    data = [shards[shard][offset : offset + length] for shard, offset, length in rows]

    def batches() -> Iterator[list[np.ndarray]]:
        while True:
            for start in range(0, len(data) - BATCH_SIZE + 1, BATCH_SIZE):
                yield [simplejpeg.decode_jpeg(item) for item in data[start : start + BATCH_SIZE]]

    return Contender(batches(), os.getpid())


def core_seconds(pid: int) -> float:
    """Read how long a process has had a core, from /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rates(contenders: dict[str, Contender], *, rounds: int, seconds: float) -> dict[str, dict[str, list[float]]]:
    """Measure images per second, every contender for some seconds in every round.

    Returns:
        Per contender, for every round, images per second of its core's time ("core") and by the clock ("clock").
    """
    measured: dict[str, dict[str, list[float]]] = {name: {"core": [], "clock": []} for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            for _ in range(5):  # used up first: what was decoded while others were measured
                next(contender.batches)
            started, core_started, num = time.perf_counter(), core_seconds(contender.pid), 0
            while (elapsed := time.perf_counter() - started) < seconds:
                num += len(next(contender.batches))
            measured[name]["core"].append(num / (core_seconds(contender.pid) - core_started))
            measured[name]["clock"].append(num / elapsed)
    return measured


def image_files(root: Path, contents: Iterable[bytes], kind: str) -> list[Path]:
    """Write JPEG files."""
    paths = []
    for number, data in enumerate(contents):
        paths.append(root / f"{number}-{kind}.jpg")
        paths[-1].write_bytes(data)
    return paths


def jpeg_of(pixels: np.ndarray) -> bytes:
    """Encode as a camera would."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def measure_speed(root: Path, *, num_images: int, rounds: int, seconds: float) -> dict[str, Any]:
    """Measure all rates on one set of generated images."""
    catalog = catalog_of(ArrayImages(photographs(num_images, SIZE, 341), "image"))
    packs = {
        encoding: pack_catalog(catalog, root / encoding, source="folder", size=SIZE, encoding=encoding)
        for encoding in ("jpeg", "raw")
    }
    jpeg = Pack(packs["jpeg"].folder)
    stored = b"".join(path.read_bytes() for path in sorted(jpeg.folder.glob("shard-*.bin")))
    ends = np.cumsum(jpeg.index["length"]).tolist()
    small = image_files(root, (stored[start:stop] for start, stop in itertools.pairwise([0, *ends])), "small")
    large = image_files(root, map(jpeg_of, photographs(min(num_images, 128), 375, 500)), "large")
    measured = rates(
        {
            "bare": bare(jpeg),
            "streamed": streamed(packs["jpeg"].folder),
            "raw": streamed(packs["raw"].folder),
            "usual": usual(small, rescales=False),
            "originals": usual(large, rescales=True),
        },
        rounds=rounds,
        seconds=seconds,
    )

    def ratio(one: str, other: str) -> float:
        # Of neighbours in time, round by round, then the median.
        return statistics.median(a / b for a, b in zip(measured[one]["core"], measured[other]["core"], strict=True))

    return {
        "images_per_second": measured,
        "ratios": {
            "streamed / bare": ratio("streamed", "bare"),
            "streamed / usual": ratio("streamed", "usual"),
            "streamed / originals": ratio("streamed", "originals"),
            "raw / streamed": ratio("raw", "streamed"),
        },
        "bytes_per_image": {encoding: pack.num_bytes / num_images for encoding, pack in packs.items()},
    }


def peak_mebibytes(pid: int | str) -> float:
    """Read the most memory that a process ever held, from /proc."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def stream_an_epoch(folder: Path) -> None:
    """Read a whole pack once, as training does, and print the peak memory of this process and of its worker."""
    loader = streaming_loader(folder, size=64, crop=56, device="cpu")
    num = sum(len(micro.labels) for step in loader.steps(0) for micro in step)
    worker = loader.workers.processes[0].pid
    assert worker is not None
    print(json.dumps({"images": num, "main_mib": peak_mebibytes("self"), "worker_mib": peak_mebibytes(worker)}))


def measure_memory(root: Path, counts: tuple[int, ...]) -> list[dict[str, float]]:
    """Measure peak memory for sets of different size, each in a process of its own."""
    few = photographs(64, 64, 85)
    found = []
    for num in counts:
        folder = root / f"memory-{num}"
        pack_catalog(catalog_of(Repeated(few, num)), folder, source="folder", size=64, encoding="jpeg")
        done = subprocess.run(
            [sys.executable, __file__, "--stream-an-epoch", str(folder)], capture_output=True, text=True, check=True
        )
        found.append(json.loads(done.stdout))
    return found


def show(speed: dict[str, Any], memory: list[dict[str, float]]) -> None:
    """Print the tables."""
    kilobytes = {encoding: num_bytes / 1000 for encoding, num_bytes in speed["bytes_per_image"].items()}
    print(f"images of {SIZE} x 341 pixels, {kilobytes['jpeg']:.0f} kB as JPEG, {kilobytes['raw']:.0f} kB raw; crops of {CROP}")
    print(f"  {'images/s':<10} {'per core':>9} {'(range)':>20} {'by the clock':>14}")
    for name, values in speed["images_per_second"].items():
        spread = f"({min(values['core']):,.0f} to {max(values['core']):,.0f})"
        print(
            f"  {name:<10} {statistics.median(values['core']):>9,.0f} {spread:>20} {statistics.median(values['clock']):>14,.0f}"
        )
    goals = {"streamed / bare": 0.85, "streamed / usual": 1.5}
    for name, value in speed["ratios"].items():
        goal = f"   goal {goals[name]:g}: {'met' if value >= goals[name] else 'MISSED'}" if name in goals else ""
        print(f"  {name:<22} {value:>6.2f}{goal}")
    print("\npeak memory of one epoch")
    for row in memory:
        print(
            f"  {row['images']:>8,.0f} images   training process {row['main_mib']:.0f} MiB   worker {row['worker_mib']:.0f} MiB"
        )
    if len(memory) > 1:
        more = (memory[-1]["main_mib"] - memory[0]["main_mib"]) * 2**20 / (memory[-1]["images"] - memory[0]["images"])
        print(f"  {more:.0f} bytes more per image, for labels, index and order")


def main() -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="fewer images and rounds, results not written")
    parser.add_argument("--stream-an-epoch", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.stream_an_epoch is not None:
        stream_an_epoch(arguments.stream_an_epoch)
        return
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        num_images, rounds, seconds = (256, 3, 2) if arguments.short else (1024, 7, 4)
        speed = measure_speed(root, num_images=num_images, rounds=rounds, seconds=seconds)
        memory = measure_memory(root, (1_000, 10_000) if arguments.short else (10_000, 100_000))
    show(speed, memory)
    if not arguments.short:
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        where = environment(device=torch.device("cpu"), world_size=1)
        RESULTS.write_text(json.dumps({"environment": where, "speed": speed, "memory": memory}, indent=2) + "\n")
        print(f"\nwritten to {os.path.relpath(RESULTS)}")


if __name__ == "__main__":
    main()
