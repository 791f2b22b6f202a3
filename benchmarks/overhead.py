"""What watching costs: time of a training loop with Monitor, over the same loop unwatched, beside wandb.watch.

Variants run interleaved, in turns of ten steps, and what is compared is processor time of this process, so that a busy
machine disturbs little; the figure is the median over rounds of each round's ratio, a round being at least one sampling
interval. What wandb does in its own process is not counted. wandb.watch(log="all") is measured where wandb is installed,
offline, at log_freq equal to Monitor's `every`.

The loop is that of the package's demo without its data: VGG-B at a quarter of its width, 64 images of 32 pixels, SGD.
The images are in memory, so nothing hides what watching costs. Goals: at most 1.01 at every 100th step, 1.10 at every
step, always below wandb.watch.

    OMP_NUM_THREADS=1 python benchmarks/overhead.py
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from trainability.doctor import Monitor
from trainability.training.record import environment

TURN = 10  # steps
RESULTS = Path(__file__).parent / "results" / "overhead.json"


def small_vgg(width: int) -> nn.Sequential:
    """VGG-B's shape on 32x32 images, at `width` channels in the first block."""
    layers: list[nn.Module] = []
    channels = 3
    for multiple in (1, 2, 4, 8, 8):
        for _ in range(2):
            layers += [nn.Conv2d(channels, width * multiple, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width * multiple
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels, 10))


class Loop:
    """One training loop with its own model; `run` takes steps and returns processor seconds."""

    def __init__(self, width: int, batch_size: int, every: int | None) -> None:
        torch.manual_seed(0)
        self.net = small_vgg(width)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=1e-3, momentum=0.9)
        self.images, self.labels = torch.randn(batch_size, 3, 32, 32), torch.arange(batch_size) % 10
        self.monitor = Monitor(self.net, self.optimizer, every=every) if every is not None else None
        self.log: Callable[[float], Any] = lambda loss: None

    def context(self) -> contextlib.AbstractContextManager[Any]:
        return self.monitor if self.monitor is not None else contextlib.nullcontext()

    def run(self, steps: int) -> float:
        start = time.process_time()
        for _ in range(steps):
            loss = F.cross_entropy(self.net(self.images), self.labels)
            loss.backward()
            if self.monitor is not None:
                self.monitor.after_backward(loss)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.log(0.0)
        return time.process_time() - start


def wandb_loop(width: int, batch_size: int, every: int, folder: str) -> tuple[Loop, Any] | None:
    """The loop under wandb.watch; None where wandb is not installed."""
    try:
        import wandb
    except ImportError:
        return None
    os.environ["WANDB_SILENT"] = "true"
    run = wandb.init(mode="offline", dir=folder, project="overhead")
    loop = Loop(width, batch_size, None)
    run.watch(loop.net, log="all", log_freq=every)
    loop.log = lambda loss: run.log({"loss": loss})  # histograms leave with the next log
    return loop, run


def measure(every: int, options: argparse.Namespace) -> dict[str, Any]:
    """Median ratios and their quartiles to the unwatched loop at one sampling interval."""
    plain = Loop(options.width, options.batch_size, None)
    watched = Loop(options.width, options.batch_size, every)
    with tempfile.TemporaryDirectory() as folder:
        rival = None if options.no_wandb else wandb_loop(options.width, options.batch_size, every, folder)
        again = Loop(options.width, options.batch_size, None)  # what two equal loops differ by: the machine's noise
        loops = {"plain": plain, "monitor": watched, "plain again": again} | ({"wandb.watch": rival[0]} if rival else {})
        times: dict[str, list[float]] = {name: [] for name in loops}
        with watched.context():
            for loop in loops.values():
                loop.run(2)
            turns = max(1, every // TURN)
            for _ in range(max(3, options.steps // (turns * TURN))):
                sums = dict.fromkeys(loops, 0.0)
                for _ in range(turns):
                    for name, loop in loops.items():
                        sums[name] += loop.run(TURN)
                for name, seconds in sums.items():
                    times[name].append(seconds / (turns * TURN))
        if rival:
            rival[1].finish()
    row: dict[str, Any] = {"seconds_per_step": statistics.median(times["plain"])}
    for name in loops.keys() - {"plain"}:
        ratios = [a / b for a, b in zip(times[name], times["plain"], strict=True)]
        row[name] = statistics.median(ratios)
        row[f"{name} quartiles"] = [round(q, 4) for q in statistics.quantiles(ratios, n=4)[::2]]
    return row


def main() -> None:
    """Prints a table and writes it as JSON beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--steps", type=int, default=200, help="per variant and interval; at least three rounds are made")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--no-wandb", action="store_true")
    options = parser.parse_args()
    rows = {every: measure(every, options) for every in options.every}
    print(f"{'every':>6}  {'s/step':>8}  {'Monitor':>8}  {'wandb.watch':>12}  {'unwatched again':>15}")
    for every, row in rows.items():
        rival = f"{row['wandb.watch']:12.3f}" if "wandb.watch" in row else f"{'absent':>12}"
        print(f"{every:>6}  {row['seconds_per_step']:8.4f}  {row['monitor']:8.3f}  {rival}  {row['plain again']:15.3f}")
    RESULTS.parent.mkdir(exist_ok=True)
    machine = environment(device=torch.device("cpu"), world_size=1)
    del machine["command"]
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        machine["packages"]["wandb"] = importlib.metadata.version("wandb")
    RESULTS.write_text(json.dumps({"machine": machine, "settings": vars(options), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
