"""Theory against measurement: scale of logits and gradients on random nets, and steps at chance on VGGs.

    OMP_NUM_THREADS=1 python benchmarks/theory.py             # 200 random nets (a minute), 16 trainings (a quarter of an hour)
    OMP_NUM_THREADS=1 python benchmarks/theory.py --plateaus 0

A prediction holds where measurement is within a factor 2 of it. Trainings are VGG-A, B and D at a quarter of their width
on the built-in digits, with a He plan whose layers are scaled at random to a budget drawn from [-6.5, 0.5], lr 0.003 to
0.03, momentum 0.9, weight decay 0 or 5e-4, clip none or 1, dropout 0.5. None of them was used to fit the formula. Those
whose prediction is longer than 450 steps are drawn again. A run is watched for 2.2 times its prediction; one that is still
at chance then is a miss.
"""

import argparse
import dataclasses
import json
import math
import random
import statistics
from pathlib import Path
from typing import Any

import torch
from random_nets import measured_over_predicted
from torch import nn
from torch.nn import functional as F

from trainability.config import DataConfig, ModelConfig, OptimConfig, RunConfig, RunSettings
from trainability.data import dataset
from trainability.doctor import optimizer_settings
from trainability.doctor.measure.probe import probe
from trainability.doctor.reading import LEARNED, WINDOW_STEPS
from trainability.initialization import weight_layers
from trainability.models.vgg import set_dropout_keys
from trainability.training import engine as engines
from trainability.training.parts import TrainingParts, assemble
from trainability.training.precheck import first_images
from trainability.training.record import environment

RESULTS = Path(__file__).parent / "results" / "theory.json"
LONGEST = 450


def drawn(seed: int, width: float, batch_size: int) -> tuple[RunConfig, float]:
    """A training and its gain budget."""
    rng = random.Random(seed)
    config = RunConfig(
        model=ModelConfig(config=rng.choice(("A", "B", "D")), width=width, dropout=0.5),
        data=DataConfig(name="digits", input="standard"),
        optim=OptimConfig(
            lr=10 ** rng.uniform(-2.5, -1.5),
            weight_decay=rng.choice((0.0, 5e-4)),
            clip=rng.choice((None, 1.0)),
            batch_size=batch_size,
        ),
        run=RunSettings(seed=seed, device="cpu"),
    )
    config = config.completed()
    return dataclasses.replace(config, init=dataclasses.replace(config.init, plan="he")), rng.uniform(-6.5, 0.5)


def scale_to(model: nn.Module, budget: float, seed: int) -> None:
    """Scales the layers of a net with He's plan so that the logarithms of their gains sum to `budget`."""
    rng = random.Random(seed)
    layers = weight_layers(model)
    shares = [rng.expovariate(1.0) for _ in layers]
    with torch.no_grad():
        for (_, module), share in zip(layers, shares, strict=True):
            module.get_parameter("weight").mul_(10 ** (budget * share / sum(shares) / 2))


def steps_at_chance(parts: TrainingParts, config: RunConfig, limit: int) -> int | None:
    """Trains until the mean of the last losses is below 0.9 ln C; None if it is not within `limit` steps."""
    losses: list[float] = []
    epoch = 0
    while True:
        for micros in parts.loader.steps(epoch):
            (micro,) = micros
            set_dropout_keys(parts.model, micro.keys)
            loss = F.cross_entropy(parts.model(micro.images), micro.labels)
            parts.optimizer.zero_grad()
            loss.backward()
            if config.optim.clip is not None:
                nn.utils.clip_grad_norm_(parts.model.parameters(), config.optim.clip)
            parts.optimizer.step()
            losses.append(float(loss.detach()))
            recent = losses[-WINDOW_STEPS:]
            if len(recent) == WINDOW_STEPS and statistics.fmean(recent) < LEARNED * math.log(parts.loader.num_classes):
                return len(losses)
            if len(losses) >= limit or not math.isfinite(losses[-1]):
                return None
        epoch += 1


def plateau(seed: int, width: float, batch_size: int) -> dict[str, Any] | None:
    """One training: predicted and measured steps at chance; None if it would take too long."""
    config, budget = drawn(seed, width, batch_size)
    with engines.start(config.run) as engine:
        parts = assemble(config, engine, data=dataset.load(config.data, seed=seed))
        scale_to(parts.model, budget, seed)
        images, labels = first_images(parts, 512)
        set_dropout_keys(parts.model, None)
        settings = optimizer_settings(parts.optimizer, parts.model, clip=config.optim.clip)
        settings = dataclasses.replace(settings, lr=config.optim.lr)
        predicted = probe(parts.model, F.cross_entropy, images, labels, optimizer=settings).plateau_steps
        assert predicted is not None
        if predicted > LONGEST:
            return None
        for group in parts.optimizer.param_groups:
            group["lr"] = config.optim.lr
        parts.model.train()
        measured = steps_at_chance(parts, config, limit=math.ceil(2.2 * predicted))
    return {
        "seed": seed,
        "net": config.model.config,
        "budget": round(budget, 2),
        "lr": round(config.optim.lr, 5),
        "weight_decay": config.optim.weight_decay,
        "clip": config.optim.clip,
        "predicted": round(predicted),
        "measured": measured,
        "holds": measured is not None and 0.5 < measured / predicted < 2,
    }


def main() -> None:
    """Prints both tables and writes them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", type=int, default=200)
    parser.add_argument("--plateaus", type=int, default=16)
    parser.add_argument("--width", type=float, default=0.25, help="of the trained networks")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    result: dict[str, Any] = {
        "machine": environment(device=torch.device("cpu"), world_size=1),
        "settings": {k: v for k, v in vars(options).items() if k != "out"},
    }
    del result["machine"]["command"]
    ratios = [measured_over_predicted(seed) for seed in range(options.nets)]
    result["scales"] = {}
    for name in ("logits", "gradient") if ratios else ():
        factors = sorted(max(r[name], 1 / r[name]) for r in ratios)
        within = sum(f < 2 for f in factors)
        result["scales"][name] = {"within_factor_2": within, "of": len(factors), "median_factor": statistics.median(factors)}
        print(f"{name:>9}: {within} of {len(factors)} within a factor 2, median factor {statistics.median(factors):.2f}")
    rows: list[dict[str, Any]] = []
    seed = 0
    while len(rows) < options.plateaus:
        if (row := plateau(seed, options.width, options.batch_size)) is not None:
            rows.append(row)
            print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
        seed += 1
    result["plateaus"] = {"within_factor_2": sum(row["holds"] for row in rows), "of": len(rows), "drawn": seed, "rows": rows}
    print(f"steps at chance: {result['plateaus']['within_factor_2']} of {len(rows)} within a factor 2")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
