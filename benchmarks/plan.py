"""Whether the first plan that `trainability plan` proposes trains, with what was known in September 2014.

    OMP_NUM_THREADS=1 python benchmarks/plan.py --processes 16       # about half an hour on one core
    OMP_NUM_THREADS=1 python benchmarks/plan.py --stop-after 400     # goes on where it was stopped

VGG-D and VGG-E at a quarter of their width on the built-in digits at 32 pixels, and a plain net of 34 layers (33 convolutions
of 3x3 and a linear layer, at 16 to 64 channels) on them at 16 pixels, standardised: SGD, learning rate and clip as proposed
(0.01 and none to begin with), momentum 0.9, 32 images a step. Beside the proposal: Xavier everywhere, and N(0, 0.01)
everywhere, with 0.01 and no clip, and with the proposal's rate and clip. A net has trained at the step at which the mean of its
last 20 losses falls below half of ln 10, and has not where that is not within 600. Numbers below 1e-38 count as 0
(`torch.set_flush_denormal`): a net whose signal fades has many, and the processor takes far longer for each.
"""

import argparse
import contextlib
import json
import math
import time
from collections import deque
from pathlib import Path
from typing import Any

import torch
from default_init import digits
from torch import Tensor, nn
from torch.nn import functional as F

from trainability import init_
from trainability.doctor.setup import Setup
from trainability.executors import executor_of, results
from trainability.initialization import InitPlan
from trainability.models.vgg import build_vgg
from trainability.prescribe.search import Proposal, propose
from trainability.training.record import environment

RESULTS = Path(__file__).parent / "results" / "plan.json"
NETS = ("D", "E", "plain-34")
OTHERS = ("xavier", "normal=0.01")
LATER_THAN_2014 = ("he", "he-uniform")  # He et al., February 2015
PIXELS = {"D": 32, "E": 32, "plain-34": 16}
SEEDS, LIMIT, BATCH_SIZE, LR = 5, 600, 32, 0.01


def plain_34() -> nn.Sequential:
    """Thirty-three 3x3 convolutions with ReLU, no normalisation, no shortcut, and a linear layer."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU()]
    channels = 16
    for width, count in ((16, 10), (32, 11), (64, 11)):
        for number in range(count):
            stride = 2 if number == 0 and width > 16 else 1
            layers += [nn.Conv2d(channels, width, 3, stride=stride, padding=1), nn.ReLU()]
            channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def build(net: str) -> nn.Module:
    """One of `NETS`."""
    return plain_34() if net == "plain-34" else build_vgg(net, num_classes=10, crop=32, width=0.25)


def images_and_labels(net: str) -> tuple[Tensor, Tensor]:
    """(1797, 3, pixels, pixels) float32, and the labels."""
    pixels, labels = digits()
    large = F.interpolate(pixels.view(-1, 1, 8, 8), size=PIXELS[net], mode="bilinear")
    return ((large - large.mean()) / large.std()).expand(-1, 3, -1, -1).contiguous(), labels


def proposed(net: str) -> tuple[Proposal, float]:
    """The first proposal, and the seconds of processor time that it took."""
    images, labels = images_and_labels(net)
    model = build(net)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9)
    batches = [(images[at : at + BATCH_SIZE], labels[at : at + BATCH_SIZE]) for at in range(0, 512, BATCH_SIZE)]
    setup = Setup(model=model, train_loader=batches, loss_fn=F.cross_entropy, optimizer=optimizer)

    def is_allowed(plan: InitPlan) -> bool:
        return all(segment.scheme not in LATER_THAN_2014 for segment in plan.segments)

    began = time.process_time()
    best = propose(setup, is_allowed=is_allowed)[0]
    return best, time.process_time() - began


def trained(task: tuple[str, str, float, float | None, int]) -> int | None:
    """The step at which a net has trained; None if not within the limit."""
    net, plan, lr, clip, seed = task
    torch.set_flush_denormal(True)
    images, labels = images_and_labels(net)
    torch.manual_seed(seed)
    model = init_(build(net), plan, seed=seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)
    recent: deque[float] = deque(maxlen=20)
    for step in range(1, LIMIT + 1):
        chosen = torch.randint(0, len(images), (BATCH_SIZE,))
        loss = F.cross_entropy(model(images[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        recent.append(loss.item())
        if not math.isfinite(recent[-1]):
            return None
        if len(recent) == 20 and sum(recent) / 20 < 0.5 * math.log(10):
            return step
    return None


def main() -> None:
    """Propose, train, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--nets", type=lambda text: text.split(","), default=list(NETS))
    parser.add_argument("--processes", type=int, default=1, help="trainings at the same time, each on one thread")
    parser.add_argument("--stop-after", type=float, default=math.inf, help="seconds; another call goes on")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"rows": {}}
    found["environment"] = environment(device=torch.device("cpu"), world_size=1)
    rows, began = found["rows"], time.perf_counter()
    for net in chosen.nets:
        if f"{net}: proposed" not in rows:
            best, seconds = proposed(net)
            with_it = {"lr": best.lr or LR, "clip": best.clip}
            row = {"net": net, "plan": str(best.plan), **with_it, "steps": {}, "seconds_to_propose": round(seconds, 2)}
            rows[f"{net}: proposed"] = row
            for plan in OTHERS:
                rows[f"{net}: {plan}"] = {"net": net, "plan": plan, "lr": LR, "clip": None, "steps": {}}
                rows[f"{net}: {plan}, its rate and clip"] = {"net": net, "plan": plan, **with_it, "steps": {}}
    asked = sorted((name for name in rows if rows[name]["net"] in chosen.nets), key=lambda name: not name.endswith("proposed"))
    tasks = {
        f"{name}/{seed}": (rows[name]["net"], rows[name]["plan"], rows[name]["lr"], rows[name]["clip"], seed)
        for is_other in (False, True)  # with the proposal's rate and clip last
        for seed in range(chosen.seeds)
        for name in asked
        if name.endswith("its rate and clip") == is_other
        if str(seed) not in rows[name]["steps"]
    }
    with executor_of(chosen.processes) as pool, contextlib.closing(results(pool, trained, tasks)) as made:
        for task, step in made:
            name, _, seed = task.partition("/")
            rows[name]["steps"] = dict(sorted({**rows[name]["steps"], seed: step}.items()))
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")
            if time.perf_counter() - began > chosen.stop_after:
                break
    print(f"{'net':9} {'plan':50} {'lr':>6} {'clip':>5}  steps until trained, by seed (limit {LIMIT})")
    for row in (rows[name] for name in asked):
        steps = ", ".join("never" if step is None else str(step) for step in row["steps"].values())
        plan = row["plan"] if len(row["plan"]) <= 50 else row["plan"][:47] + "..."
        print(f"{row['net']:9} {plan:50} {row['lr']:6g} {row['clip'] or '-':>5}  {steps}")


if __name__ == "__main__":
    main()
