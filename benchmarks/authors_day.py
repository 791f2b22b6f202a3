"""What `check` says of the nine states of the log's code before the first step, and in how many seconds.

    OMP_NUM_THREADS=2 python benchmarks/authors_day.py    # a quarter of an hour of two cores; --table prints what is there

Each state is a trial of the book as it was run, bugs included, at the log's own size: full width, 224 pixels, the classes of
its data set; generated photographs stand in for the images. The seconds are those of the check alone, without imports and
without the making of images; they depend on the machine, which is written down.
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path

import torch

from trainability import faults
from trainability.config import DataConfig, RunConfig
from trainability.data import dataset
from trainability.doctor import diagnose
from trainability.training import engine as engines
from trainability.training.parts import assemble
from trainability.training.precheck import evidence_before
from trainability.training.record import environment
from trainability.trials.book import TRIALS
from trainability.trials.scales import configure

RESULTS = Path(__file__).parent / "results" / "authors_day.json"
NUM_IMAGES = 400
STATES = {
    "29 April": ("caltech-1", 257),
    "1 May": ("cifar100-1", 100),
    "1 May, evening": ("cifar100-more-random", 100),
    "2 May": ("cifar10-success", 10),
    "3 May, A": ("imagenet-A", 1000),
    "3 May, B": ("imagenet-B-fail-1", 1000),
    "7 May, B": ("imagenet-B", 1000),
    "11 May, C": ("imagenet-C", 1000),
    "11 May, D": ("imagenet-D", 1000),
    "19 May, D": ("imagenet-D-vanishing-trained", 1000),
    "2 June, D": ("imagenet-D-propagate-trained", 1000),
}


def config_of(trial: str, num_classes: int) -> RunConfig:
    """A state at the log's own size, on generated photographs."""
    config = configure(TRIALS[trial], "full", "as-run", 0)
    data = DataConfig(
        name="synthetic", crop=224, size=256, num_classes=num_classes, num_images=max(500, 5 * num_classes), input="standard"
    )
    optim = dataclasses.replace(config.optim, batch_size=64, micro_batch_size=None)
    return dataclasses.replace(config, data=data, optim=optim).completed()


def checked(trial: str, num_classes: int) -> dict[str, object]:
    """Check a state, and say how long the check alone took."""
    config = config_of(trial, num_classes)
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, rehearse_seconds=None))
    data, num_train = dataset.sample(config.data, seed=0, num_train=NUM_IMAGES, num_val=NUM_IMAGES // 4)
    with engines.start(config.run) as engine:
        parts = faults.install(assemble(config, engine, data=data), config)
        begun = time.perf_counter()
        steps = num_train // config.optim.batch_size * config.optim.epochs
        diagnosis = diagnose(evidence_before(parts, config, engine, planned_steps=steps))
        seconds = time.perf_counter() - begun
    found = [finding for finding in diagnosis.findings if finding.severity != "hint"]
    return {
        "trial": trial,
        "verdict": diagnosis.verdict,
        "reason": diagnosis.reason,
        "findings": [{"rule": f.rule, "severity": f.severity, "seen": f.seen, "cause": f.cause} for f in found],
        "seconds": round(seconds, 1),
        "faults": list(config.run.faults),
    }


def main() -> None:
    """Check what has not been checked, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--table", action="store_true", help="print what was checked, and check nothing")
    options = parser.parse_args()
    rows: dict[str, dict] = json.loads(RESULTS.read_text())["states"] if RESULTS.is_file() else {}
    for state, (trial, num_classes) in STATES.items() if not options.table else ():
        if state not in rows:
            rows[state] = checked(trial, num_classes)
            facts = environment(device=torch.device("cpu"), world_size=1)
            RESULTS.write_text(json.dumps({"environment": facts, "states": rows}, indent=1) + "\n")
    print("| state | verdict | found, worst first | seconds |")
    print("|---|---|---|---|")
    for state, row in rows.items():
        print(f"| {state} | {row['verdict']} | {', '.join(f['rule'] for f in row['findings'])} | {row['seconds']:.0f} |")


if __name__ == "__main__":
    main()
