"""How fast the loop trains, as ratios measured in one run, interleaved.

    python benchmarks/throughput.py                      # VGG-B at 32 pixels, quarter and full width, fp32 and bf16

Three ways to make the same training step, and what they share, in turns of a few steps each:

bare     forward, backward, clip-free SGD step on one batch that is already in memory; the same network, nothing recorded.
ours     `trainability.fit`: every batch cut, cropped and normalised anew, keyed dropout, loss, errors and gradient norm of
         every step recorded, guarded against NaN. Without the doctor, whose cost `watched.py` measures.
usual    the usual script: DataLoader with per-image transforms, classifier as 1x1 convolutions, `.item()` every step.
shared   the 3x3 convolutions alone, forward and backward, which all three ways have in common.

The table gives images/s of the first three. As medians over turns, with quartiles, it gives the ratios ours/bare (goal 0.97;
by the clock, and of the process's time on all cores, which other programs disturb less), ours/usual (goal 2) and
shared/usual: what ours/usual would be if all but these convolutions cost nothing. Absolute figures hold for the machine that
is named; only ratios compare.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from trainability.config import DataConfig, ModelConfig, OptimConfig, RunConfig, RunSettings
from trainability.data import dataset
from trainability.data.dataset import Split
from trainability.models.vgg import CHANNELS, CONFIGS
from trainability.training import engine as engines
from trainability.training.loop import fit
from trainability.training.parts import TrainingParts, assemble
from trainability.training.record import RunWriter, environment


class PerImage(Dataset[tuple[Tensor, int]]):
    """The usual data set: one image at a time, a random crop and a normalisation in Python."""

    def __init__(self, split: Split, mean: Tensor, crop: int, *, flip: bool) -> None:
        """Keep a split; images are cropped when they are asked for."""
        self.images, self.labels = split.images, split.labels.tolist()
        self.mean, self.crop, self.flip = mean, crop, flip

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        """Cut and normalise one image."""
        image = self.images[number].permute(2, 0, 1)
        top, left = (int(torch.randint(side - self.crop + 1, ())) for side in image.shape[1:])
        image = image[:, top : top + self.crop, left : left + self.crop].float() - self.mean[:, None, None]
        if self.flip and torch.rand(()) < 0.5:
            image = image.flip(2)
        return image, self.labels[number]


def usual_network(model: ModelConfig, num_classes: int) -> nn.Module:
    """The usual fully convolutional VGG: plain modules, classifier as convolutions whatever the map."""
    assert model.width is not None
    assert model.hidden is not None
    layers: list[nn.Module] = []
    channels = 3
    for stage, kernels in zip(CHANNELS, CONFIGS[model.config], strict=True):
        for kernel in kernels:
            assert isinstance(kernel, int)
            out = round(stage * model.width)
            layers += [nn.Conv2d(channels, out, kernel, padding=kernel // 2), nn.ReLU(inplace=True)]
            channels = out
        layers.append(nn.MaxPool2d(2))
    layers += [nn.Conv2d(channels, model.hidden, 1), nn.ReLU(inplace=True), nn.Dropout(model.dropout)]
    layers += [nn.Conv2d(model.hidden, model.hidden, 1), nn.ReLU(inplace=True), nn.Dropout(model.dropout)]
    layers += [nn.Conv2d(model.hidden, num_classes, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers)


def shared_convolutions(network: nn.Module, images: Tensor, autocast: Callable[[], Any]) -> Callable[[], None]:
    """Build a step that makes the 3x3 convolutions of a network and nothing else, on the inputs that they have in a pass."""
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)]
    inputs: list[Tensor] = []
    gradients: list[Tensor] = []

    def record(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        inputs.append(given[0].detach().clone().requires_grad_(bool(inputs)))  # the images themselves need no gradient
        gradients.append(torch.ones_like(output))

    hooks = [module.register_forward_hook(record) for module in convolutions]
    with torch.no_grad(), autocast():
        network(images)
    for hook in hooks:
        hook.remove()

    def step() -> None:
        for module, given, gradient in zip(convolutions, inputs, gradients, strict=True):
            with autocast():
                output = module(given)
            output.backward(gradient)
            given.grad = None
        for module in convolutions:
            module.zero_grad()

    return step


def forever(loader: DataLoader[Any]) -> Iterator[Any]:
    """Repeat a loader."""
    while True:
        yield from loader


class Turns:
    """Stands where a display would, and between turns of ours lets the other two make as many steps."""

    def __init__(self, others: dict[str, Callable[[], object]], steps_per_turn: int, num_turns: int) -> None:
        """Prepare the turns; the first one warms up and is not counted."""
        self.others, self.steps_per_turn, self.num_turns = others, steps_per_turn, num_turns
        self.seconds: dict[str, list[float]] = {name: [] for name in ("ours", *others)}
        self.processor: dict[str, list[float]] = {name: [] for name in ("ours", *others)}
        self.count = 0
        self.since = (0.0, 0.0)

    def start(self, start: object) -> None:
        """Begin the clock."""
        self.since = _now()

    def step(self, position: object) -> None:
        """Count a step of ours; after a turn of them, the others' turns."""
        self.count += 1
        if self.count % self.steps_per_turn:
            return
        self._add("ours", self.since)
        for name, step in self.others.items():
            since = _now()
            for _ in range(self.steps_per_turn):
                step()
            self._add(name, since)
        if len(self.seconds["ours"]) > self.num_turns:
            raise KeyboardInterrupt
        self.since = _now()

    def _add(self, name: str, since: tuple[float, float]) -> None:
        _synchronize()
        seconds, processor = _now()
        self.seconds[name].append(seconds - since[0])
        self.processor[name].append(processor - since[1])

    def rows(self, rows: object) -> None:
        """Nothing to show."""

    def diagnosed(self, diagnosis: object, new: object) -> None:
        """Not needed here."""

    def evaluation(self, row: object) -> None:
        """Nothing to show: there are more images than steps."""


def _now() -> tuple[float, float]:
    """By the clock, and of this process's time on all cores."""
    return time.perf_counter(), time.process_time()


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def bare_step(parts: TrainingParts, engine: engines.Engine) -> Callable[[], None]:
    """Build the step that makes what cannot be left out, on one batch."""
    micro = next(next(parts.loader.steps(0)))

    def step() -> None:
        with engine.autocast():
            logits = parts.network(micro.images)
        F.cross_entropy(logits.float(), micro.labels).backward()
        parts.optimizer.step()
        parts.optimizer.zero_grad()

    return step


def measure(config: RunConfig, *, num_turns: int, steps_per_turn: int) -> dict[str, Any]:
    """Time the three ways, interleaved.

    Returns:
        images/s per way, and the ratios' medians and quartiles over turns.
    """
    optim = config.optim
    with engines.start(config.run) as engine, tempfile.TemporaryDirectory() as folder:
        parts = assemble(config, engine)
        twin = assemble(config, engine)
        micro = next(next(twin.loader.steps(0)))
        bare = bare_step(twin, engine)
        data = dataset.load(config.data, seed=config.run.seed)
        assert config.data.crop is not None
        images = PerImage(data.train, data.mean, config.data.crop, flip=bool(config.data.flip))
        batches = forever(DataLoader(images, batch_size=optim.batch_size, shuffle=True, drop_last=True))
        network = usual_network(config.model, len(data.class_names)).to(engine.device)
        sgd = torch.optim.SGD(network.parameters(), lr=optim.lr, momentum=optim.momentum, weight_decay=optim.weight_decay)

        def usual() -> float:
            pixels, labels = (values.to(engine.device) for values in next(batches))
            with engine.autocast():
                logits = network(pixels)
            loss = F.cross_entropy(logits.float(), labels)
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            return loss.item()

        shared = shared_convolutions(twin.model, micro.images, engine.autocast)
        turns = Turns({"bare": bare, "usual": usual, "shared": shared}, steps_per_turn, num_turns)
        with contextlib.suppress(KeyboardInterrupt):
            fit(config, parts, RunWriter.create(Path(folder) / "run", config), engine=engine, display=turns)
        counted = {name: seconds[1:] for name, seconds in turns.seconds.items()}
        processor = {name: seconds[1:] for name, seconds in turns.processor.items()}
        per_turn = steps_per_turn * optim.batch_size
        speed = {name: per_turn / statistics.median(seconds) for name, seconds in counted.items()}
        ratios = {
            title: statistics.quantiles([other / own for own, other in zip(of[one], of[name], strict=True)], n=4)
            for title, of, one, name in (
                ("ours/bare", counted, "ours", "bare"),
                ("ours/bare, processor", processor, "ours", "bare"),
                ("ours/usual", counted, "ours", "usual"),
                ("shared/usual", counted, "shared", "usual"),
            )
        }
        return {
            "model": f"{config.model.config} x{config.model.width:g}",
            "crop": config.data.crop,
            "precision": config.run.precision,
            "batch_size": optim.batch_size,
            "num_turns": len(counted["ours"]),
            "steps_per_turn": steps_per_turn,
            "images_per_second": speed,
            "ratio_quartiles": ratios,
        }


def setting(
    config: str, width: float, crop: int, precision: str, batch_size: int, device: str, num_steps: int, watching: dict[str, Any]
) -> RunConfig:
    """Build the configuration of one row: generated images, so many that no epoch ends within the steps."""
    small = crop <= 64
    return RunConfig(
        model=ModelConfig(config=config, width=width),  # type: ignore[arg-type]
        data=DataConfig(
            name="synthetic",
            crop=crop,
            size=crop + (4 if small else 32),
            num_images=round((num_steps + 2) * batch_size / 0.95),
            val_fraction=0.05,
            num_classes=10 if small else 100,
        ),
        # A rate at which nothing is learned and nothing can overflow: the three ways stay comparable however long it takes.
        optim=OptimConfig(batch_size=batch_size, epochs=100_000, lr=1e-6, schedule="constant"),
        run=RunSettings(device=device, precision=precision, **watching),  # type: ignore[arg-type]
    ).completed()


def main() -> None:
    """Run the rows, print a table, write JSON."""
    parser = argparse.ArgumentParser(description="Throughput of the training loop, as ratios; see the head of the file.")
    parser.add_argument("--turns", type=int, default=15, help="turns per row, after one that warms up")
    parser.add_argument("--quick", action="store_true", help="quarter width only")
    parser.add_argument("--small", action="store_true", help="only A at an eighth of the width, whose step is a third as long")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "throughput.json")
    arguments = parser.parse_args()
    unwatched: dict[str, Any] = {"check": "off", "monitor_every_steps": None}
    rows = [("B", 0.25, 32, "fp32", 64, 8), ("B", 0.25, 32, "bf16", 64, 8)]
    if arguments.small:
        rows = [("A", 0.125, 32, "fp32", 64, 10), ("A", 0.125, 32, "bf16", 64, 10)]
    elif not arguments.quick:
        rows += [("B", 1.0, 32, "fp32", 64, 2), ("B", 1.0, 32, "bf16", 64, 2)]
    table = Table(title="images/s, and ratios: median (quartiles) over interleaved turns", title_justify="left")
    for name in (
        "network",
        "crop",
        "precision",
        "bare",
        "ours",
        "usual",
        "ours/bare",
        "processor",
        "ours/usual",
        "shared/usual",
    ):
        table.add_column(name, justify="left" if name == "network" else "right", no_wrap=True)
    results = []
    for config, width, crop, precision, batch_size, steps in rows:
        num_steps = steps * (arguments.turns + 1)
        run = setting(config, width, crop, precision, batch_size, "cpu", num_steps, unwatched)
        row = measure(run, num_turns=arguments.turns, steps_per_turn=steps)
        results.append(row)
        speed, quartiles = row["images_per_second"], row["ratio_quartiles"]
        written = [f"{middle:.2f} ({low:.2f}-{high:.2f})" for low, middle, high in quartiles.values()]
        speeds = [f"{speed[way]:,.0f}" for way in ("bare", "ours", "usual")]
        table.add_row(row["model"], str(crop), precision, *speeds, *written)
    console = Console(width=130)
    console.print(table)
    machine = environment(device=torch.device("cpu"), world_size=1)
    del machine["command"]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps({"machine": machine, "rows": results}, indent=1) + "\n")
    console.print(f"{machine['device']}, {machine['num_threads']} threads, torch {torch.__version__}; {arguments.out}")


if __name__ == "__main__":
    main()
