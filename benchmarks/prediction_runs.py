"""Short runs over the plane of gain budget and learning rate, each checked before its first step; `prediction.py` scores them.

    OMP_NUM_THREADS=1 python benchmarks/prediction_runs.py --processes 16    # restartable; half an hour of one core in all

Networks: VGG-A, B, D and E at a sixteenth of their width and 32 pixels on the digits, and on MNIST where `--data-root` has it
(`../shared/data`); and plain convolutional, fully-connected (ReLU, leaky ReLU, tanh) and residual nets without normalisation on
digits of 8 pixels. A run draws its starting weights (He's, scaled by layer or by their input to a budget between -12 and +12;
or a scheme as it is), its learning rate over five decades, momentum, decay, clip, dropout and seed.

A run ends after its 200 steps, where the loss is not finite, or once it has clearly trained. A row keeps what the check saw:
the probe (closed form, plateau), twenty rehearsed steps with their critical steps, and the rehearsals at other rates that its
outlook asks for; and what then happened.
"""

import argparse
import contextlib
import dataclasses
import json
import math
import random
import statistics
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import random_programs
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.config import DataConfig, InitConfig, ModelConfig, OptimConfig, RunConfig, RunSettings
from trainability.data import dataset
from trainability.data.dataset import DataSet
from trainability.doctor import Evidence, diagnose
from trainability.doctor.measure.other_rates import rehearse_with_other_rates
from trainability.doctor.measure.probe import probe
from trainability.doctor.reading import LEARNED, WINDOW_STEPS, total_budget
from trainability.doctor.rehearsed import Rehearsal
from trainability.executors import executor_of, results
from trainability.initialization import weight_layers
from trainability.training import engine as engines
from trainability.training.parts import assemble

RUNS = Path(__file__).parent / "results" / "prediction-runs.jsonl"
DATA = Path(__file__).parents[2] / "shared" / "data"
STEPS, REHEARSED = 200, 20
CHANCE = math.log(10)
CLEAR, AFTER = 0.35, 40  # a run is over once its loss is below this share of chance, and so many steps after leaving it
VGG = ("A", "B", "D", "E")
OTHERS = ("cnn", "mlp", "residual_mlp", "resnet")
PROBED = 256


@dataclasses.dataclass(frozen=True)
class Program:
    """A network with its optimizer, and batches without end that are the same each time they are read."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    batches: "Batches"
    clip: float | None


class Batches:
    """Batches of images and labels, one epoch after another."""

    def __init__(self, epoch: Any, scale: float) -> None:
        self.epoch, self.scale = epoch, scale

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        number = 0
        while True:
            for images, labels in self.epoch(number):
                yield images * self.scale, labels
            number += 1


def draw(number: int, with_mnist: bool) -> dict[str, Any]:
    """Describe the run of that number in plain data."""
    rng = random.Random(f"prediction {number}")
    is_vgg = rng.random() < 0.26
    start = rng.choices(["even", "shares", "input", "scheme"], [4, 3, 1.5, 1.5])[0]
    spec: dict[str, Any] = {
        "name": f"run-{number:04d}",
        "seed": number,
        "net": rng.choices(VGG, [3, 3, 2, 1])[0] if is_vgg else rng.choices(OTHERS, [4, 5, 2, 2])[0],
        "data": "mnist" if is_vgg and rng.random() < 0.2 else "digits",
        "start": start,
        "budget": round(rng.uniform(-12, 12) if rng.random() < 0.35 else rng.uniform(-6, 3), 2),
        "lr": float(f"{10 ** (rng.uniform(-4, 1) if rng.random() < 0.35 else rng.uniform(-2.5, -0.7)):.3g}"),
        "momentum": rng.choice([0.9, 0.9, 0.9, 0.0]),
        "weight_decay": rng.choice([0.0, 5e-4, 5e-4, 5e-3]),
        "clip": rng.choice([None, None, 1.0, 0.1]),
        "dropout": rng.choice([0.0, 0.5]) if is_vgg else 0.0,
    }
    if is_vgg:
        std = float(f"{10 ** rng.uniform(-2.2, -0.3):.2g}")
        spec["plan"] = rng.choice(["he", "xavier", "lecun", "orthogonal", f"normal={std}", f"xavier:4,normal={std},xavier:3"])
        spec["input"] = rng.choice(["standard", "standard", "mean"])
    else:
        spec["depth"] = rng.randint(6, 20) if spec["net"] in ("mlp", "residual_mlp") else rng.randint(6, 12)
        spec["width"] = rng.choice((24, 32, 48)) if spec["net"] in ("mlp", "residual_mlp") else rng.choice((6, 8, 12))
        spec["activation"] = rng.choice(["relu", "relu", "leaky_relu", "tanh"])
        spec["init"] = rng.choice(["default", "he", "xavier", "orthogonal", "normal"])
        spec["init_std"] = float(f"{10 ** rng.uniform(-2, -0.3):.2g}")
    if spec["data"] == "mnist" and not with_mnist:
        spec["data"] = "digits"
    return spec


@cache
def images_of(name: str, root: Path) -> DataSet:
    """The data set, at 32 pixels."""
    path = root / "mnist" if name == "mnist" else None
    config = RunConfig(data=DataConfig(name=name, path=path, crop=32, input="standard")).completed()
    return dataset.load(config.data, seed=0)


def vgg(spec: dict[str, Any], root: Path) -> Program:
    """A VGG of this package, as `train` assembles it."""
    config = RunConfig(
        model=ModelConfig(config=spec["net"], width=1 / 16, dropout=spec["dropout"]),
        init=InitConfig(plan=spec["plan"] if spec["start"] == "scheme" else "he"),
        data=DataConfig(name=spec["data"], crop=32, input=spec["input"]),
        optim=OptimConfig(
            lr=spec["lr"], momentum=spec["momentum"], weight_decay=spec["weight_decay"], clip=spec["clip"], batch_size=16
        ),
        run=RunSettings(seed=spec["seed"], device="cpu"),
    ).completed()
    with engines.start(config.run) as engine:
        parts = assemble(config, engine, data=images_of(spec["data"], root))
    for group in parts.optimizer.param_groups:
        group["lr"] = spec["lr"]

    def epoch(number: int) -> Iterator[tuple[Tensor, Tensor]]:
        for micros in parts.loader.steps(number):
            (micro,) = micros
            yield micro.images, micro.labels

    return Program(parts.model, parts.optimizer, Batches(epoch, 1.0), spec["clip"])


def other(spec: dict[str, Any]) -> Program:
    """A net of `random_programs`, on digits of 8 pixels."""
    form = spec | {
        "family": spec["net"],
        "task": "classification",
        "norm": False,
        "hidden": False,
        "init": spec["init"] if spec["start"] == "scheme" else "he",
        "optimizer": "momentum",
        "schedule": None,
        "fault": None,
    }
    made = random_programs.build(form, steps=STEPS)
    inputs, labels = random_programs.digits()

    def epoch(number: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(1000 * spec["seed"] + number))
        for start in range(0, len(inputs) - 31, 32):
            index = order[start : start + 32]
            yield inputs[index], labels[index]

    return Program(made.model, made.optimizer, Batches(epoch, 1.0), spec["clip"])


def build(spec: dict[str, Any], root: Path) -> Program:
    """Make a program and bring it to its budget."""
    program = vgg(spec, root) if spec["net"] in VGG else other(spec)
    if spec["start"] == "scheme":
        return program
    images, labels = probed(program)
    own = total_budget(probe(program.model, F.cross_entropy, images[:64], labels[:64]))
    decades = spec["budget"] - (own if own is not None else math.log10(float(images.square().mean())))
    if spec["start"] == "input":
        program.batches.scale = 10 ** (decades / 2)
        return program
    rng = random.Random(spec["seed"])
    layers = weight_layers(program.model)
    shares = [1.0 if spec["start"] == "even" else rng.expovariate(1.0) for _ in layers]
    with torch.no_grad():
        for (_, module), share in zip(layers, shares, strict=True):
            module.get_parameter("weight").mul_(10 ** (decades * share / sum(shares) / 2))
    return program


def probed(program: Program) -> tuple[Tensor, Tensor]:
    """The first 256 images and labels that the loop will draw."""
    images: list[Tensor] = []
    labels: list[Tensor] = []
    for some, their in program.batches:
        images.append(some)
        labels.append(their)
        if sum(map(len, images)) >= PROBED:
            break
    return torch.cat(images), torch.cat(labels)


def checked(program: Program) -> dict[str, Any]:
    """What the check says before the first step: probe, rehearsal and diagnosis. The program is left as it was."""
    began = time.process_time()
    images, labels = probed(program)
    seen = probe(
        program.model, F.cross_entropy, images, labels, optimizer=program.optimizer, clip=program.clip, planned_steps=STEPS
    )
    probe_seconds = time.process_time() - began
    rehearsal = rehearse_with_other_rates(
        program.model,
        program.optimizer,
        program.batches,
        loss_fn=F.cross_entropy,
        clip=program.clip,
        planned_steps=STEPS,
        max_steps=REHEARSED,
        seconds=60.0,
    )
    diagnosis = diagnose(Evidence(probe=seen, rehearsal=rehearsal, num_classes=10))
    return {
        "budget": _short(total_budget(seen)),
        "structure": seen.structure,
        "biased": seen.biased,
        "plateau_steps": _short(seen.plateau_steps),
        "gradient_norm": _short(seen.gradient_norm),
        "predicted_logit_rms": _short(seen.predicted_logit_rms),
        "logit_rms": _short(seen.logit_rms),
        "logit_spread": _short(seen.logit_spread),
        "loss": _short(seen.loss),
        "input_mean_square": _short(seen.input_mean_square),
        "verdict": diagnosis.verdict,
        "findings": [[finding.code, finding.severity] for finding in diagnosis.findings],
        **rehearsed(rehearsal),
        "probe_seconds": round(probe_seconds, 2),
        "seconds": round(time.process_time() - began, 2),
    }


def rehearsed(rehearsal: Rehearsal) -> dict[str, Any]:
    """The rehearsal's figures."""
    looks = lambda seen: [[o.step, _short(o.loss, 6), _short(o.output_rms), _short(o.output_spread)] for o in seen]  # noqa: E731
    return {
        "rehearsed_losses": [_short(step.loss) for step in rehearsal.steps],
        "norms": [_short(step.gradient_norm) for step in rehearsal.steps],
        "looks": looks(rehearsal.reference),
        "critical": [
            [n, _short(c.multiple), c.at_limit, _short(c.loss_before, 8), _short(c.loss_after, 8), _short(c.lowest_loss, 8)]
            for n, c in rehearsal.critical
        ],
        "other_rates": [
            {"scale": _short(o.scale, 6), "ended_by": o.ended_by, "looks": looks(o.reference)} for o in rehearsal.other_rates
        ],
        "ended_by": rehearsal.ended_by,
        "task": dataclasses.asdict(rehearsal.task),
    }


def trained(program: Program) -> dict[str, Any]:
    """The run itself, for 200 steps or until it has clearly trained or failed."""
    began = time.process_time()
    program.model.train()
    losses: list[float] = []
    left, ended_by = None, "steps"
    for images, labels in program.batches:
        loss = F.cross_entropy(program.model(images), labels)
        program.optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(program.model.parameters(), program.clip if program.clip is not None else math.inf)
        losses.append(loss.item())
        if not math.isfinite(losses[-1]) or not math.isfinite(norm.item()):
            ended_by = "not finite"
            break
        program.optimizer.step()
        mean = statistics.fmean(losses[-WINDOW_STEPS:])
        if left is None and len(losses) >= WINDOW_STEPS and mean < LEARNED * CHANCE:
            left = len(losses)
        if left is not None and len(losses) >= left + AFTER and mean < CLEAR * CHANCE:
            ended_by = "trained"
            break
        if len(losses) >= STEPS:
            break
    means = [statistics.fmean(losses[max(0, end - 10) : end]) for end in range(10, len(losses) + 1, 10)]
    return {
        "steps": len(losses),
        "left_chance_step": left,
        "ended_by": ended_by,
        "trained": ended_by != "not finite" and statistics.fmean(losses[-WINDOW_STEPS:]) < LEARNED * CHANCE,
        "first_loss": _short(losses[0]),
        "means_of_ten": [_short(value, 4) for value in means],
        "seconds": round(time.process_time() - began, 2),
    }


def _short(value: float | None, digits: int = 5) -> float | None:
    """A number that JSON takes: rounded; infinity and NaN as text would be, as None for NaN and 1e300 for infinity."""
    if value is None or math.isnan(value):
        return None
    return float(f"{value:.{digits}g}") if math.isfinite(value) else math.copysign(1e300, value)


def rows(path: Path = RUNS) -> list[dict[str, Any]]:
    """What the file holds so far; a line that was cut off is made again."""
    found = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        found[row["spec"]["name"]] = row
    return list(found.values())


def row_of(task: tuple[dict[str, Any], Path]) -> dict[str, Any]:
    """Check a program, and run it; both are made anew from its description."""
    spec, root = task
    return {"spec": spec, "check": checked(build(spec, root)), "run": trained(build(spec, root))}


def main() -> None:
    """Append the rows that the file lacks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, default=RUNS)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1200)
    parser.add_argument("--processes", type=int, default=1, help="runs at the same time, each on one thread")
    parser.add_argument("--minutes", type=float, default=60.0, help="of this call; what is not begun by then is left")
    parser.add_argument("--data-root", type=Path, default=DATA, help="folder of the folder mnist; without it all is digits")
    options = parser.parse_args()
    with_mnist = (options.data_root / "mnist").is_dir()
    if not with_mnist:
        print(f"no {options.data_root / 'mnist'}: its runs are made on the digits")
    done = {row["spec"]["name"] for row in rows(options.path)}
    specs = [draw(number, with_mnist) for number in range(options.first, options.first + options.count)]
    tasks = {spec["name"]: (spec, options.data_root) for spec in specs if spec["name"] not in done}
    began, here = time.monotonic(), len(specs) - len(tasks)
    options.path.parent.mkdir(exist_ok=True)
    with (
        executor_of(options.processes) as pool,
        contextlib.closing(results(pool, row_of, tasks)) as made,
        options.path.open("a") as file,
    ):
        for count, (_, row) in enumerate(made, 1):
            file.write(json.dumps(row, allow_nan=False) + "\n")
            file.flush()
            minutes = (time.monotonic() - began) / 60
            if count % 20 == 0 or count == len(tasks):
                print(f"{here + count} of {len(specs)} runs, {minutes:.1f} minutes", flush=True)
            if minutes > options.minutes:
                return


if __name__ == "__main__":
    main()
