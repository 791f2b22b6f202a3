"""What `check` with its rehearsal costs: net D at 224 pixels, the default run on digits, and the healthy programs of the tests.

    OMP_NUM_THREADS=2 python benchmarks/check.py                  # all
    OMP_NUM_THREADS=2 python benchmarks/check.py --only D gan     # some

Goals, on two cores: at most 30 seconds for D (1,000 classes, batch 256), at most 5 for small nets. Each is checked in a process
of its own, import excluded, with the defaults of `check`. On a busy machine the wall clock says what others did; processor
seconds over the number of threads are what it would have been alone.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

import trainability
from trainability.checking.run import check_config
from trainability.config import DataConfig, ModelConfig, RunConfig, RunSettings
from trainability.doctor import Diagnosis
from trainability.training.record import environment

RESULTS = Path(__file__).parent / "results" / "check.json"
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
GOALS = {"D": 30.0}
SMALL_GOAL = 5.0


def _photographs() -> RunConfig:
    data = DataConfig(name="synthetic", crop=224, num_classes=1000, num_images=20_000)
    return RunConfig(model=ModelConfig(config="D", width=1.0), data=data, run=RunSettings(device="cpu")).completed()


CONFIGS = {"D": _photographs, "digits": lambda: RunConfig(run=RunSettings(device="cpu")).completed()}


def names() -> list[str]:
    """All that can be checked."""
    import healthy_loops  # noqa: F401
    import healthy_losses  # noqa: F401
    import healthy_programs  # noqa: F401
    from healthy_parts import PROGRAMS

    return [*CONFIGS, *PROGRAMS]


def checked(name: str) -> Diagnosis:
    """One check with its defaults."""
    if name in CONFIGS:
        return check_config(CONFIGS[name]())
    from healthy_parts import PROGRAMS

    return trainability.check(**PROGRAMS[name]().setup)


def measure(name: str) -> dict[str, Any]:
    """Seconds of one check in this process."""
    names()
    torch.matmul(torch.randn(64, 64), torch.randn(64, 64))  # what the first product sets up
    wall, cpu = time.monotonic(), time.process_time()
    diagnosis = checked(name)
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    rehearsal = diagnosis.evidence.rehearsal
    return {
        "wall_seconds": round(wall, 2),
        "processor_seconds": round(cpu, 2),
        "rehearsed_steps": len(rehearsal.steps) if rehearsal is not None else 0,
        "verdict": diagnosis.verdict,
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    """Prints a line for each and writes them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=names(), metavar="NAME")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(measure(options.one)))
        return
    known = json.loads(RESULTS.read_text())["checks"] if RESULTS.exists() else {}
    for name in options.only:
        said = subprocess.check_output([sys.executable, "-W", "ignore", __file__, "--one", name])
        row = known[name] = json.loads(said.splitlines()[-1])
        alone = row["processor_seconds"] / row["threads"]
        word = "met" if alone <= GOALS.get(name, SMALL_GOAL) else "MISSED"
        told = f"{row['processor_seconds']:6.1f} processor seconds on {row['threads']} threads, {word};"
        told += f" {row['wall_seconds']:.1f} s by the clock, {row['rehearsed_steps']} steps rehearsed, {row['verdict']}"
        print(f"{name:34s} {told}", flush=True)
    machine = environment(device=torch.device("cpu"), world_size=1)
    del machine["command"]
    RESULTS.write_text(json.dumps({"machine": machine, "checks": known}, indent=1) + "\n")


if __name__ == "__main__":
    main()
