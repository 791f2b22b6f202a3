"""What a probe costs beside a training step: processor time and peak memory, each in a process of its own, in turns.

    OMP_NUM_THREADS=1 python benchmarks/probe.py              # VGG-D at 224 pixels, 8 images

Goals: at most 3 times the step's time, 1.2 times its memory. A step is forward, backward and SGD with momentum, the second of
two (the first also fetches memory). Memory is the process's peak above what it had before the first image.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch.nn import functional as F

from trainability.doctor.measure.probe import probe
from trainability.initialization import InitPlan, apply
from trainability.models.vgg import build_vgg
from trainability.training.record import environment

RESULTS = Path(__file__).parent / "results" / "probe.json"


def peak_bytes() -> int:
    """Peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(what: str, config: str, crop: int, batch_size: int) -> dict[str, float]:
    """Seconds and bytes of one probe or one training step in this process."""
    model = build_vgg(config, num_classes=1000, crop=crop)
    apply(InitPlan.parse("he"), model, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    images, labels = torch.randn(batch_size, 3, crop, crop), torch.arange(batch_size)
    before = peak_bytes()
    seconds = 0.0
    for _ in range(2):
        start = time.process_time()
        if what == "probe":
            probe(model, F.cross_entropy, images, labels, optimizer=optimizer)
        else:
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
        seconds = time.process_time() - start
    return {"seconds": seconds, "bytes": peak_bytes() - before}


def main() -> None:
    """Prints both ratios and writes them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="D")
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--one", choices=("probe", "step"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(measure(options.one, options.config, options.crop, options.batch_size)))
        return
    command = [sys.executable, __file__, "--config", options.config, "--crop", str(options.crop)]
    command += ["--batch-size", str(options.batch_size), "--one"]
    turns = []
    for _ in range(options.turns):
        pair = {what: json.loads(subprocess.check_output([*command, what])) for what in ("step", "probe")}
        turns.append({**pair, **{f"{unit}_ratio": pair["probe"][unit] / pair["step"][unit] for unit in ("seconds", "bytes")}})
    found = {name: statistics.median(turn[name] for turn in turns) for name in ("seconds_ratio", "bytes_ratio")}
    print(f"probe over training step: time {found['seconds_ratio']:.2f}, memory {found['bytes_ratio']:.2f}")
    machine = environment(device=torch.device("cpu"), world_size=1)
    del machine["command"]
    settings = {name: value for name, value in vars(options).items() if name != "one"}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": machine, "settings": settings, **found, "turns": turns}, indent=1) + "\n")


if __name__ == "__main__":
    main()
