"""How good VGG becomes from random weights by the paper's means alone: A, B, D, E on CIFAR-10 and MNIST at 32 pixels.

    python benchmarks/from_scratch.py run --data-root DATA    # DATA holds cifar10 and mnist; what is finished is kept
    python benchmarks/from_scratch.py run --data-root DATA --crop 224    # B and D on CIFAR-10 at 224 pixels; needs a GPU
    python benchmarks/from_scratch.py table                   # the table, and results/from-scratch.json

`--only cifar10-A cifar10-E` trains some. At 224 pixels images are enlarged to 256, as raw pixels in the card's memory (12 GB).

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
    ("cifar10", 32): ("--optim.epochs", "36", "--optim.step-epochs", "20", "28", "33"),
    ("mnist", 32): ("--optim.epochs", "8", "--optim.step-epochs", "5", "7"),
    ("cifar10", 224): (
        *("--data.crop", "224", "--data.size", "256", "--data.encoding", "raw", "--data.resident-gib", "16", "--run.compile"),
        *("--optim.epochs", "18", "--optim.step-epochs", "10", "14", "16"),
    ),
}
RUNS = (
    *[("cifar10", 32, net, seed) for net, seeds in (("A", 1), ("B", 1), ("D", 2), ("E", 1)) for seed in range(seeds)],
    *[("mnist", 32, net, 0) for net in "ABDE"],
    *[("cifar10", 224, net, 0) for net in "BD"],
)
"""Data set, crop, net, seed; A comes before E, which starts from it."""
WHICH = ("data", "crop", "net", "width", "seed", "device")
"""What tells rows of the table apart; what `table` does not find among the runs is kept."""


def name_of(data: str, crop: int, net: str, seed: int) -> str:
    """The run directory's name."""
    return f"{data}-{net}-seed{seed}" if crop == 32 else f"{data}-{crop}-{net}-seed{seed}"


def train(runs: Path, data_root: Path, width: float, chosen: tuple[int, list[str]], flags: list[str]) -> None:
    """Train what is chosen, by crop and by set and net, and has not finished, one after the other."""
    for data, crop, net, seed in RUNS:
        folder = runs / name_of(data, crop, net, seed)
        if (folder / "result.json").is_file() or crop != chosen[0] or (chosen[1] and f"{data}-{net}" not in chosen[1]):
            continue
        start = ("--init.from", str(runs / name_of(data, crop, "A", 0))) if net == "E" else ()
        what = ("--data.name", data, "--data.path", str(data_root / data), "--model.config", net, "--model.width", str(width))
        where = ("--run.dir", str(folder), "--run.seed", str(seed))
        command = (sys.executable, "-m", "trainability", "train", *where, *what, *COMMON, *OF_SET[data, crop], *start)
        command += tuple(flags)
        resume = (sys.executable, "-m", "trainability", "train", "--resume", str(folder))
        subprocess.run(resume if folder.is_dir() else command, check=False)


def row_of(run: Run) -> dict[str, Any]:
    """What a run reached after its last epoch."""
    config, last = run.train_config, run.evaluations[-1]
    return {
        "data": config.data.name,
        "net": config.model.config,
        "width": config.model.width,
        "crop": config.data.crop,
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
    parser.add_argument("--crop", type=int, choices=(32, 224), default=32, help="run: side of the crops in pixels")
    parser.add_argument("--only", nargs="+", default=[], metavar="SET-NET", help="run: these alone, such as mnist-A")
    arguments, flags = parser.parse_known_args()
    if arguments.command == "run":
        if arguments.data_root is None:
            parser.error("run needs --data-root")
        train(arguments.runs, arguments.data_root, arguments.width, (arguments.crop, arguments.only), flags)
        return
    folders = sorted(folder for folder in arguments.runs.iterdir() if (folder / "evaluations.jsonl").is_file())
    anew = [row_of(run) for run in map(read_run, folders) if run.evaluations]
    kept = json.loads(RESULTS.read_text()) if RESULTS.is_file() else []
    rows = list({tuple(row[name] for name in WHICH): row for row in (*kept, *anew)}.values())
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    table = Table("data", "net", "width", "crop", "seed", "epochs", "error", "training error", "train s", "device")
    for row in rows:
        errors = [f"{row[name]:.2%}" for name in ("val_top1_error", "train_top1_error")]
        first = [str(row[name]) for name in ("data", "net", "width", "crop", "seed", "epochs")]
        table.add_row(*first, *errors, f"{row['train_seconds']:.0f}", row["device"])
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
