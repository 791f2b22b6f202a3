"""What the doctor costs in each kind of loop: time of a Trainer's or a loop's own steps with it, over the same without.

One fit in one process is watched and left alone by turns, in windows of 50 steps of which the doctor samples one: what two
processes differ by, where their tensors lie in memory, is up to 5 % here. 52 steps that are not timed come before each, since
every watch begins anew: at its first two samples it asks what it asks once in a run, and it takes norms at each of its first
20 steps. A watched window is compared with the two around it, in processor seconds of the process and in seconds on the clock;
the figures are median and quartiles over the watched windows. The same of windows that nobody watches says what the machine
does. What happens once in a run (imports aside: the run directory is made, the first two steps are sampled, the last diagnosis
is said; with all that the doctor does in those 52 steps) is given apart, in processor seconds. `--source` measures the doctor
of another source tree. Weights are compared bit for bit after 204 steps with those of a fit that is never watched. Goal: at
most 1.02.

The program is that of `overhead.py` (VGG-B at a quarter of its width, images of 32 pixels in memory, SGD), for Transformers a
GPT-2 of two layers on generated tokens; `--size` multiplies the batch of 32 images, or 16 sequences.

    OMP_NUM_THREADS=1 python benchmarks/overhead_loops.py
    OMP_NUM_THREADS=1 python benchmarks/overhead_loops.py --size 3 --windows 8
"""

import argparse
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from overhead_fits import EVERY, FITS

from trainability.training.record import environment

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "overhead_loops.json"


def fit(name: str, size: int, num_watched: int, source: Path) -> dict[str, Any]:
    """What one fit measures, in a process of its own."""
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(source / "src"), str(HERE)])}
    command = [sys.executable, str(HERE / "overhead_fits.py"), name, str(size), str(num_watched)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(name: str, size: int, num_watched: int, source: Path) -> dict[str, Any]:
    """Ratios to the windows that nobody watches, and whether the weights are equal."""
    found = fit(name, size, num_watched, source)
    never = fit(name, size, 0, source)
    rows = found["windows"]
    rest = [statistics.median(row["rest"] for row in rows[first::2]) for first in (0, 1)]
    return {
        "watched": {clock: _quartiles(rows, range(1, len(rows), 2), 1, clock) for clock in ("cpu", "wall")},
        "unwatched": {clock: _quartiles(rows, range(2, len(rows) - 2, 2), 2, clock) for clock in ("cpu", "wall")},
        "seconds_per_step": statistics.median(row["cpu"] for row in rows[::2]) / EVERY,
        "once_seconds": rest[1] - rest[0],
        "bitwise_equal": found["weights"] == never["weights"] != "",
    }


def _quartiles(rows: list[dict[str, float]], places: range, distance: int, clock: str) -> list[float]:
    """Lower quartile, median and upper quartile of windows over the mean of those at a distance on both sides."""
    around = (2 * rows[i][clock] / (rows[i - distance][clock] + rows[i + distance][clock]) for i in places)
    return [round(quartile, 4) for quartile in statistics.quantiles(around, n=4)]


def main() -> None:
    """Prints a row for each kind of loop and writes them as JSON beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=16, help=f"of {EVERY} watched steps; at least 3")
    parser.add_argument("--size", type=int, default=1, help="of the batch")
    parser.add_argument("--source", type=Path, default=HERE.parent, help="source tree of the doctor that is measured")
    parser.add_argument("--label", help="kept with the rows, which are written beside those without; of another source")
    parser.add_argument("--only", nargs="*", default=list(FITS), choices=list(FITS))
    options = parser.parse_args()
    rows = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else {}
    machine = environment(device=torch.device("cpu"), world_size=1)
    del machine["command"]
    for name in options.only:
        package = FITS[name][1]
        try:
            version = importlib.metadata.version(package) if package else None
        except importlib.metadata.PackageNotFoundError:
            print(f"{name:<18}  {package} is not installed")
            continue
        row = measure(name, options.size, options.windows, options.source)
        settings = {"size": options.size, "windows": options.windows, "every": EVERY, "version": version, "machine": machine}
        rows[f"{name}, size {options.size}" + (f", {options.label}" if options.label else "")] = {**row, **settings}
        what = f"{row['seconds_per_step'] * 1000:.0f} ms a step, once {row['once_seconds']:.3f} s"
        print(f"{name}: {what}, weights equal: {row['bitwise_equal']}")
        for kind in ("watched", "unwatched"):
            shown = {clock: "{1:.3f} ({0:.3f} to {2:.3f})".format(*row[kind][clock]) for clock in ("cpu", "wall")}
            print(f"  {kind:<10} processor {shown['cpu']}  clock {shown['wall']}", flush=True)
        RESULTS.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
