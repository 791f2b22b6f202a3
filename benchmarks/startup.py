"""What a command costs before it does its work: processor seconds of fresh processes, beside bare Python and `import torch`.

    python benchmarks/startup.py              # about two minutes
    python benchmarks/startup.py --times 3 --out /tmp/startup.json

Processor time of the process and of those that it starts, user and system, with one thread for torch; the commands alternate,
and each figure is a median with its quartiles. `check` is that of the built-in digits, whole and without its rehearsal.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import torch
from rich.console import Console

from trainability.training.record import environment

RESULTS = Path(__file__).parent / "results" / "startup.json"
COMMAND = ("-m", "trainability")
COMMANDS: dict[str, tuple[str, ...]] = {
    "python -c pass": ("-c", "pass"),
    "import torch": ("-c", "import torch"),
    "import trainability": ("-c", "import trainability"),
    "trainability --help": (*COMMAND, "--help"),
    "trainability train --help": (*COMMAND, "train", "--help"),
    "trainability trials list": (*COMMAND, "trials", "list"),
    "trainability check": (*COMMAND, "check"),
    "trainability check --rehearse 0": (*COMMAND, "check", "--rehearse", "0"),
}
EXIT_CODES = (0, 1)
"""1 is a check that finds something to change."""


def processor_seconds(arguments: tuple[str, ...]) -> float:
    """Run a fresh interpreter, and return its processor time."""
    before = os.times()
    done = subprocess.run([sys.executable, *arguments], capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    after = os.times()
    if done.returncode not in EXIT_CODES:
        raise RuntimeError(f"{arguments} ended with {done.returncode}: {done.stderr.decode()}")
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=9)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for command in COMMANDS.values():
        processor_seconds(command)  # once more, so that files are in memory
    for _ in range(arguments.times):
        for name, command in COMMANDS.items():
            seconds[name].append(processor_seconds(command))
    console = Console(width=140)
    for name, values in seconds.items():
        low, middle, high = statistics.quantiles(values, n=4)
        console.print(f"{name:<34} {middle:6.3f} s ({low:.3f} to {high:.3f})", highlight=False)
    where = environment(device=torch.device("cpu"), world_size=1)
    del where["command"]
    rows = {name: {"processor_seconds": values, "median": statistics.median(values)} for name, values in seconds.items()}
    arguments.out.write_text(json.dumps({"environment": {**where, "num_threads": 1}, "commands": rows}, indent=1) + "\n")
    console.print(f"written to {os.path.relpath(arguments.out)}")


if __name__ == "__main__":
    main()
