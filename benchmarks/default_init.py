"""PyTorch's default initialisation in deep MLPs: gain budget, the doctor's verdict, and steps until the loss leaves chance.

    OMP_NUM_THREADS=1 python benchmarks/default_init.py       # some ten minutes on one core

Nets of 7 to 21 linear layers, 128 wide, with ReLU between them and weights and biases as torch.nn.Linear makes them, on the
built-in digits with standardised pixels, batches of 64. A net has left chance at the step at which the mean of the last 20
losses falls below 0.9 ln 10; one that has not within the limit counts as never.
"""

import argparse
import json
import statistics
from collections import deque
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.probe import probe
from trainability.doctor.reading import LEARNED, WINDOW_STEPS, total_budget
from trainability.training.record import environment

RESULTS = Path(__file__).parent / "results" / "default_init.json"
DEPTHS = (7, 9, 11, 15, 21)
WIDTH, BATCH_SIZE = 128, 64

OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "SGD, lr 0.03, momentum 0.9": lambda net: torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9),
    "SGD, lr 0.1, momentum 0.9": lambda net: torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9),
    "Adam, lr 0.001": lambda net: torch.optim.Adam(net.parameters(), lr=1e-3),
}


def mlp(depth: int) -> nn.Sequential:
    """An MLP of `depth` linear layers, as PyTorch initialises it."""
    layers: list[nn.Module] = []
    width = 64
    for _ in range(depth - 1):
        layers += [nn.Linear(width, WIDTH), nn.ReLU()]
        width = WIDTH
    return nn.Sequential(*layers, nn.Linear(width, 10))


def digits() -> tuple[Tensor, Tensor]:
    """The built-in digits: (1797, 64) float32 of mean 0 and mean square 1, and their labels."""
    with files("trainability.data").joinpath("digits.npz").open("rb") as file, np.load(file) as stored:
        images, labels = (torch.tensor(stored[name].astype("int64")) for name in ("images", "labels"))
    pixels = images.flatten(1).float()
    return (pixels - pixels.mean()) / pixels.std(), labels


def trained(depth: int, optimizer_name: str, seed: int, limit: int) -> dict[str, Any]:
    """One net: what the doctor says before the first step, and at which step it left chance; None if not within `limit`."""
    images, labels = digits()
    torch.manual_seed(seed)
    net = mlp(depth)
    optimizer = OPTIMIZERS[optimizer_name](net)
    report = probe(net, F.cross_entropy, images[:512], labels[:512], optimizer=optimizer, planned_steps=limit)
    diagnosis = diagnose(Evidence(probe=report, num_classes=10))
    losses: deque[float] = deque(maxlen=WINDOW_STEPS)
    left = None
    for step in range(1, limit + 1):
        chosen = torch.randint(len(images), (BATCH_SIZE,))
        loss = F.cross_entropy(net(images[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        if len(losses) == WINDOW_STEPS and statistics.fmean(losses) < LEARNED * np.log(10):
            left = step
            break
    return {
        "depth": depth,
        "optimizer": optimizer_name,
        "seed": seed,
        "budget": total_budget(report),
        "verdict": diagnosis.verdict,
        "severities": {finding.code: finding.severity for finding in diagnosis.findings},
        "left_chance_at_step": left,
    }


def main() -> None:
    """Train every net, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--limit", type=int, default=1500)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    rows = []
    print(f"{'layers':>6}  {'optimizer':<26}  {'budget':>6}  {'verdict':<12}  left chance at step")
    for depth in DEPTHS:
        for name in OPTIMIZERS:
            nets = [trained(depth, name, seed, asked.limit) for seed in range(asked.seeds)]
            rows += nets
            steps = ", ".join(str(net["left_chance_at_step"] or "never") for net in nets)
            print(f"{depth:>6}  {name:<26}  {nets[0]['budget']:>+6.1f}  {nets[0]['verdict']:<12}  {steps}", flush=True)
    asked.out.write_text(
        json.dumps(
            {"machine": environment(device=torch.device("cpu"), world_size=1), "limit": asked.limit, "nets": rows}, indent=1
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
