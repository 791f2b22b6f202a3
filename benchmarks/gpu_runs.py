"""What `fit` makes of a GPU: the loop against the bare step and the usual script, watched, evaluating, fed by a pack.

The rows of `gpu.py`, which is the command, that train or evaluate with the package's own loop.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from loading import Repeated, catalog_of, photographs
from throughput import PerImage, Turns, bare_step, forever, usual_network
from torch.nn import functional as F
from torch.utils.data import DataLoader

from trainability.config import RunConfig
from trainability.data import dataset
from trainability.data.dataset import DataSet, Split
from trainability.data.packing import pack_catalog
from trainability.data.streaming import make_loader
from trainability.training import engine as engines
from trainability.training.cost import work_of
from trainability.training.loop import fit, measure
from trainability.training.parts import assemble
from trainability.training.record import RunWriter

BATCH, TURNS, NUM_CLASSES = 256, 12, 100


def changed(config: RunConfig, **fields: Any) -> RunConfig:
    """Replace fields of a configuration, each named section__field."""
    for name, value in fields.items():
        section, _, field = name.partition("__")
        config = dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **{field: value})})
    return config


def random_data(config: RunConfig, num_train: int, num_val: int = BATCH) -> DataSet:
    """Make a batch of images of random pixels, over and over: the time of a step does not depend on what they show."""
    size = config.data.size
    assert size is not None
    generator = torch.Generator().manual_seed(0)

    def split(num: int) -> Split:
        shape = (BATCH, size, size, 3)
        pixels = torch.randint(256, shape, dtype=torch.uint8, generator=generator).repeat(-(-num // BATCH), 1, 1, 1)[:num]
        return Split(images=pixels, labels=torch.randint(NUM_CLASSES, (num,), generator=generator))

    names = tuple(str(number) for number in range(NUM_CLASSES))
    level = torch.full((3,), 127.5)
    return DataSet(
        name="random",
        class_names=names,
        train=split(num_train),
        val=split(num_val),
        mean=level,
        std=torch.full((3,), 74.0),
        covariance=74.0**2 * torch.eye(3),
    )


def seconds_of(step: Callable[[], object], *, steps: int, warm_up: int = 3) -> float:
    """Time a step, the mean of several."""
    for _ in range(warm_up):
        step()
    torch.cuda.synchronize()
    since = time.perf_counter()
    for _ in range(steps):
        step()
    torch.cuda.synchronize()
    return (time.perf_counter() - since) / steps


def usual_step(config: RunConfig, data: DataSet, engine: engines.Engine) -> Callable[[], float]:
    """Build the step of the usual script."""
    assert config.data.crop is not None
    images = PerImage(data.train, data.mean, config.data.crop, flip=bool(config.data.flip))
    workers = min(16, os.cpu_count() or 1)
    loader = DataLoader(
        images, BATCH, shuffle=True, drop_last=True, num_workers=workers, pin_memory=True, persistent_workers=True
    )
    batches = forever(loader)
    network = usual_network(config.model, NUM_CLASSES).to(engine.device)
    if engine.compile:
        network.compile()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-6, momentum=0.9, weight_decay=5e-4)

    def step() -> float:
        pixels, labels = (values.to(engine.device, non_blocking=True) for values in next(batches))
        with engine.autocast():
            logits = network(pixels)
        loss = F.cross_entropy(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def loop_row(config: RunConfig, *, steps: int, rate: float) -> dict[str, Any]:
    """Time the three ways to train, in turns."""
    data = random_data(config, BATCH * (steps * (TURNS + 1) + 2))
    with engines.start(config.run) as engine, tempfile.TemporaryDirectory() as folder:
        parts, twin = assemble(config, engine, data=data), assemble(config, engine, data=data)
        bare, usual = bare_step(twin, engine), usual_step(config, data, engine)
        for step in (bare, usual):  # compiles, and chooses kernels
            for _ in range(3):
                step()
        turns = Turns({"bare": bare, "usual": usual}, steps, TURNS)
        with contextlib.suppress(KeyboardInterrupt):
            fit(config, parts, RunWriter.create(Path(folder) / "run", config), engine=engine, display=turns)
    seconds = {name: values[1:] for name, values in turns.seconds.items()}
    speed = {name: steps * BATCH / statistics.median(values) for name, values in seconds.items()}
    flop = work_of(config, NUM_CLASSES).step
    return {
        "model": f"{config.model.config} x{config.model.width:g}",
        "crop": config.data.crop,
        "precision": config.run.precision,
        "compile": config.run.compile,
        "turns": TURNS,
        "steps_per_turn": steps,
        "images_per_second": speed,
        "ours_over_bare": quartiles(seconds["bare"], seconds["ours"]),
        "ours_over_usual": quartiles(seconds["usual"], seconds["ours"]),
        "share_of_bf16_rate": {name: speed[name] * flop / rate for name in ("bare", "ours")},
    }


def quartiles(one: list[float], other: list[float]) -> list[float]:
    """Lower quartile, median and upper quartile of the ratios of pairs in time."""
    return statistics.quantiles([a / b for a, b in zip(one, other, strict=True)], n=4)


class Clock:
    """Stands where a display would: times the steps from one to another, then ends the run."""

    def __init__(self, first: int, last: int) -> None:
        """Name the steps."""
        self.first, self.last, self.seconds, self.since = first, last, 0.0, 0.0

    def step(self, position: Any) -> None:
        """Count."""
        if position.step in (self.first, self.last):
            torch.cuda.synchronize()
            now = time.perf_counter()
            self.seconds, self.since = now - self.since, now
        if position.step == self.last:
            raise KeyboardInterrupt

    def start(self, start: object) -> None:
        """Nothing to show."""

    def rows(self, rows: object) -> None:
        """Nothing to show."""

    def diagnosed(self, diagnosis: object, new: object) -> None:
        """Nothing to show."""

    def evaluation(self, row: object) -> None:
        """Nothing to show: no epoch ends before the last step."""


def run_seconds(config: RunConfig, data: DataSet | None, first: int, last: int) -> float:
    """Time steps of a run of `fit`; a run without `data` reads its own."""
    gc.collect()
    torch.cuda.empty_cache()
    clock = Clock(first, last)
    with engines.start(config.run) as engine, tempfile.TemporaryDirectory() as folder:
        parts = assemble(config, engine, data=data)
        with contextlib.suppress(KeyboardInterrupt):
            fit(config, parts, RunWriter.create(Path(folder) / "run", config), engine=engine, display=clock)
    return clock.seconds / (last - first)


def watched(config: RunConfig, *, rounds: int, steps: int) -> dict[str, Any]:
    """Time runs with the doctor at every 50th step and without."""
    data = random_data(config, BATCH * (steps + 10))
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name, every in (("unwatched", None), ("watched", 50)):
            run = changed(config, run__monitor_every_steps=every)
            seconds[name].append(run_seconds(run, data, 5, steps + 5))
    ratios = [a / b for a, b in zip(seconds["watched"], seconds["unwatched"], strict=True)]
    return {"seconds_per_step": dict(seconds), "watched_over_unwatched": statistics.median(ratios), "ratios": ratios}


def evaluation(config: RunConfig, *, num_images: int) -> dict[str, Any]:
    """Time the validation pass, and the bare forward pass."""
    data = random_data(config, BATCH, num_images)
    with engines.start(config.run) as engine:
        parts = assemble(config, engine, data=data)
        micro = next(next(parts.loader.steps(0)))

        @torch.no_grad()
        def bare() -> None:
            parts.model.eval()
            with engine.autocast():
                parts.model(micro.images)

        pairs = []
        for _ in range(5):
            seconds = seconds_of(lambda: measure(parts, config, engine), steps=1, warm_up=1)
            pairs.append((num_images / seconds, BATCH / seconds_of(bare, steps=8)))
    ours, forward = zip(*pairs, strict=True)
    return {
        "images_per_second": statistics.median(ours),
        "bare_forward": statistics.median(forward),
        "ratio": statistics.median(a / b for a, b in pairs),
    }


def loading(config: RunConfig, *, num_images: int, rounds: int, steps: int) -> dict[str, Any]:
    """Time the decoding of a JPEG pack alone, training fed by it, and training on images in the card's memory."""
    with tempfile.TemporaryDirectory() as folder:
        catalog = catalog_of(Repeated(photographs(256, 256, 341), num_images))
        pack_catalog(catalog, Path(folder) / "pack", source="folder", size=256, encoding="jpeg")
        streamed = changed(
            config, data__name="folder", data__path=Path(folder) / "pack", data__size=256, data__resident_gib=None
        )
        alone = decoding_rate(streamed)
        memory = random_data(config, BATCH * (steps + 10))
        pairs = [(run_seconds(streamed, None, 5, steps + 5), run_seconds(config, memory, 5, steps + 5)) for _ in range(rounds)]
    return {
        "workers": min(16, (os.cpu_count() or 2) - 1),
        "decoded_per_second": alone,
        "trained_per_second_streamed": BATCH / statistics.median(a for a, _ in pairs),
        "trained_per_second_in_memory": BATCH / statistics.median(b for _, b in pairs),
        "streamed_over_memory": statistics.median(b / a for a, b in pairs),
    }


def decoding_rate(config: RunConfig) -> float:
    """Count the images per second that reach the card where nothing trains."""
    data = dataset.load(config.data, seed=0)
    loader = make_loader(data, config.data, config.optim, seed=0, device=torch.device("cuda"))
    num, since = 0, 0.0
    for number, step in enumerate(loader.steps(0)):
        for micro in step:
            num += len(micro.labels)
        if number == 4:
            torch.cuda.synchronize()
            num, since = 0, time.perf_counter()
        if number > 4 and time.perf_counter() - since > 5:
            break
    torch.cuda.synchronize()
    return num / (time.perf_counter() - since)
