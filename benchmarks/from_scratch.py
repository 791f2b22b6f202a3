"""How good VGG becomes from random weights by the paper's means alone: A, B, D, E on CIFAR-10 and MNIST at 32 pixels.

    python benchmarks/from_scratch.py run --data-root DATA    # DATA holds cifar10 and mnist; what is finished is kept
    python benchmarks/from_scratch.py table                   # the table, and results/from-scratch.json

The paper's means: Glorot's weights (E: A's trained weights where it has them), momentum, weight decay, dropout, random crops, a
learning rate that drops three times by a factor of ten. CIFAR-10 has flips. No normalisation layers, nothing pre-trained.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from trainability.training.record import Run, read_run

RESULTS = Path(__file__).parent / "results" / "from-scratch.json"
COMMON = (
    *("--run.precision", "bf16", "--run.log-every-steps", "50", "--run.rehearse-seconds", "0", "--init.plan", "xavier"),
    *("--optim.batch-size", "256", "--optim.lr", "0.01", "--optim.weight-decay", "5e-4", "--optim.schedule", "steps"),
)
OF_SET = {
    "cifar10": ("--optim.epochs", "36", "--optim.step-epochs", "20", "28", "33"),
    "mnist": ("--optim.epochs", "8", "--optim.step-epochs", "5", "7"),
}
RUNS = (
    *[("cifar10", net, seed) for net, seeds in (("A", 1), ("B", 1), ("D", 2), ("E", 1)) for seed in range(seeds)],
    *[("mnist", net, 0) for net in "ABDE"],
)
"""Data set, net, seed; A comes before E, which starts from it."""


def name_of(data: str, net: str, seed: int) -> str:
    """The run directory's name."""
    return f"{data}-{net}-seed{seed}"


def train(runs: Path, data_root: Path, width: float, flags: list[str]) -> None:
    """Train what has not finished, one after the other."""
    for data, net, seed in RUNS:
        folder = runs / name_of(data, net, seed)
        if (folder / "result.json").is_file():
            continue
        start = ("--init.from", str(runs / name_of(data, "A", 0))) if net == "E" else ()
        what = ("--data.name", data, "--data.path", str(data_root / data), "--model.config", net, "--model.width", str(width))
        where = ("--run.dir", str(folder), "--run.seed", str(seed))
        command = (sys.executable, "-m", "trainability", "train", *where, *what, *COMMON, *OF_SET[data], *start, *flags)
        resume = (sys.executable, "-m", "trainability", "train", "--resume", str(folder))
        subprocess.run(resume if folder.is_dir() else command, check=False)


def row_of(run: Run) -> dict[str, Any]:
    """What a run reached after its last epoch."""
    config, last = run.train_config, run.evaluations[-1]
    return {
        "data": config.data.name,
        "net": config.model.config,
        "width": config.model.width,
        "seed": config.run.seed,
        "epochs": last["epoch"],
        "val_top1_error": last["val_top1_error"],
        "train_top1_error": last["train_top1_error"],
        "val_loss": last["val_loss"],
        "errors_by_epoch": [round(row["val_top1_error"], 4) for row in run.evaluations],
        "train_seconds": sum(row["train_seconds"] for row in run.evaluations),
        "device": run.environment["device"],
        "precision": config.run.precision,
        "torch": run.environment["packages"]["torch"],
    }


def main() -> None:
    """Train, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "table"))
    parser.add_argument("--runs", type=Path, default=Path("runs/from-scratch"))
    parser.add_argument("--data-root", type=Path, help="run: the folder of the folders cifar10 and mnist")
    parser.add_argument("--width", type=float, default=1.0, help="run: of the nets; 0.25 is enough for two cores")
    arguments, flags = parser.parse_known_args()
    if arguments.command == "run":
        if arguments.data_root is None:
            parser.error("run needs --data-root")
        train(arguments.runs, arguments.data_root, arguments.width, flags)
        return
    folders = sorted(folder for folder in arguments.runs.iterdir() if (folder / "evaluations.jsonl").is_file())
    rows = [row_of(run) for run in map(read_run, folders) if run.evaluations]
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    table = Table("data", "net", "width", "seed", "epochs", "error", "training error", "train s", "device")
    for row in rows:
        errors = [f"{row[name]:.2%}" for name in ("val_top1_error", "train_top1_error")]
        first = [str(row[name]) for name in ("data", "net", "width", "seed", "epochs")]
        table.add_row(*first, *errors, f"{row['train_seconds']:.0f}", row["device"])
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
