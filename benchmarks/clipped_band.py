"""Does clipping let nets train whose gain budget is above the band? VGG-B on the real MNIST, in the log's own manner.

    OMP_NUM_THREADS=1 nice -n 15 python benchmarks/clipped_band.py --data-path /data/mnist    # half an hour of one core
    python benchmarks/clipped_band.py --table

The log's nets are said to converge on MNIST with a budget of +3 to +4 under clip 1.0, where no net of the pilot above 2.7
trained. Here VGG-B at an eighth of its width gets the log's plan, xavier:4,normal=STD,xavier:3, with STD chosen for the
budget; SGD at rate 0.01, momentum 0.9, dropout 0.5, standardised inputs of 32 pixels, 32 images a step. An arm ends at the step
at which the mean of the last 20 losses falls below 0.9 ln C, at a loss that is not finite, or after its steps. Every 50 steps
the gain budget of the weights as they are by then is written down: weight decay shrinks them whatever the gradient does.

One process, one thread; a line per arm in results/clipped_band.jsonl, and an arm that has one is not run again.
"""

import argparse
import json
import math
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.config import DataConfig, InitConfig, ModelConfig, OptimConfig, RunConfig, RunSettings
from trainability.data import dataset
from trainability.data.dataset import DataSet
from trainability.doctor.reading import LEARNED, WINDOW_STEPS
from trainability.initialization import InitPlan, fans, promised_std, weight_layers
from trainability.models.vgg import VGG, build_vgg, set_dropout_keys
from trainability.training import engine as engines
from trainability.training.parts import assemble

RESULTS = Path(__file__).parent / "results" / "clipped_band.jsonl"
LOOK_EVERY = 50
CHANCE = math.log(10)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One training.

    Attributes:
        budget: of the starting weights, log10; the inputs have mean square 1.
        clip: largest gradient norm; None does not clip.
        weight_decay: L2 penalty.
        seed: of weights, order and dropout.
        steps: at most.
        width: of the net, of the paper's.
        lr: learning rate.
    """

    budget: float
    clip: float | None
    weight_decay: float = 5e-4
    seed: int = 0
    steps: int = 1500
    width: float = 0.125
    lr: float = 0.01


ARMS: tuple[Arm, ...] = (
    *(Arm(budget=budget, clip=clip, seed=s) for s in (0, 1) for budget in (-2.0, 0.0, 2.0, 4.0) for clip in (0.1, 1.0)),
    *(Arm(budget=3.0, clip=clip) for clip in (0.1, 1.0)),
    *(Arm(budget=budget, clip=None) for budget in (-2.0, 0.0, 2.0, 3.0)),
    Arm(budget=4.0, clip=0.03),
    # Is it the decay that lets a net in?
    *(Arm(budget=4.0, clip=clip, weight_decay=5e-3) for clip in (0.1, 1.0)),
    # Wider nets.
    *(Arm(budget=budget, clip=clip, width=0.25, steps=1000) for budget in (4.0, 0.0) for clip in (0.1, 1.0)),
    Arm(budget=2.0, clip=1.0, width=0.25, steps=1000),
    Arm(budget=1.0, clip=1.0, width=0.25, steps=1000),
    Arm(budget=2.0, clip=1.0, width=0.5, steps=800),
    # The same fall in a step, by another rate.
    Arm(budget=2.0, clip=1.0, lr=1e-3),
    Arm(budget=0.0, clip=0.1, lr=0.1),
    # Longer, where the loss had begun to fall.
    Arm(budget=4.0, clip=0.03, steps=3000),
    Arm(budget=4.0, clip=0.1, steps=4000),
)


def plan_of(budget: float, width: float) -> str:
    """The log's plan with the standard deviation that makes the weights' budget this."""

    def at(std: float) -> float:
        with torch.device("meta"):
            model = build_vgg("B", num_classes=10, crop=32, width=width)
        layers = weight_layers(model)
        segments = InitPlan.parse(f"xavier:4,normal={std:.9g},xavier:3").resolve(len(layers))
        pairs = [(module, promised_std(segment, module)) for (_, module), segment in zip(layers, segments, strict=True)]
        return sum(math.log10(fans(module)[0] * value**2 / 2) for module, value in pairs)

    # Six layers of thirteen are random, and each counts with the square of the standard deviation.
    return f"xavier:4,normal={10 ** ((budget - at(1.0)) / 12):.6g},xavier:3"


def budget_of(model: nn.Module) -> float:
    """Gain budget of the weights as they are now."""
    return sum(
        math.log10(fans(module)[0] * module.get_parameter("weight").square().mean().item() / 2)
        for _, module in weight_layers(model)
    )


@torch.no_grad()
def dead_share(model: VGG, images: Tensor) -> float:
    """Share of the first fully connected layer's units that are zero on every image."""
    model.eval()
    outputs: list[Tensor] = []
    layer = next(module for name, module in weight_layers(model) if name.startswith("classifier"))
    handle = layer.register_forward_hook(lambda module, args, output: outputs.append(output.detach()))
    model(images)
    handle.remove()
    model.train()
    return (outputs[0].flatten(2).amax((0, 2)) <= 0).float().mean().item()


def run(arm: Arm, data: DataSet) -> dict[str, object]:
    """Train an arm and write down what happened."""
    config = RunConfig(
        model=ModelConfig(config="B", width=arm.width, dropout=0.5),
        init=InitConfig(plan=plan_of(arm.budget, arm.width)),
        data=DataConfig(name="mnist", crop=32, input="standard"),
        optim=OptimConfig(batch_size=32, lr=arm.lr, weight_decay=arm.weight_decay, clip=arm.clip),
        run=RunSettings(seed=arm.seed, device="cpu"),
    ).completed()
    begun = time.process_time()
    with engines.start(config.run) as engine:
        parts = assemble(config, engine, data=data)
        model = parts.model.train()
        losses: list[float] = []
        norms: list[float] = []
        looks: list[dict[str, float]] = []
        left, nonfinite, epoch = None, None, 0
        while left is None and nonfinite is None and len(losses) < arm.steps:
            for micros in parts.loader.steps(epoch):
                (micro,) = micros
                if len(losses) % LOOK_EVERY == 0:
                    look = {"step": len(losses), "budget": budget_of(model), "dead": dead_share(model, micro.images)}
                    looks.append(look | {"loss": statistics.fmean(losses[-LOOK_EVERY:]) if losses else math.nan})
                set_dropout_keys(model, micro.keys)
                loss = F.cross_entropy(model(micro.images), micro.labels)
                parts.optimizer.zero_grad()
                loss.backward()
                norm = nn.utils.clip_grad_norm_(model.parameters(), arm.clip if arm.clip is not None else math.inf)
                losses.append(loss.item())
                norms.append(norm.item())
                if not math.isfinite(losses[-1]) or not math.isfinite(norms[-1]):
                    nonfinite = len(losses)
                    break
                parts.optimizer.step()
                if len(losses) >= WINDOW_STEPS and statistics.fmean(losses[-WINDOW_STEPS:]) < LEARNED * CHANCE:
                    left = len(losses)
                    break
                if len(losses) >= arm.steps:
                    break
            epoch += 1
        last = {"last_budget": budget_of(model), "last_dead": looks[-1]["dead"], "last_loss": losses[-1]}
    return {
        "arm": asdict(arm),
        "plan": config.init.plan,
        "steps": len(losses),
        "left_chance_step": left,
        "nonfinite_step": nonfinite,
        "first_loss": losses[0],
        "first_norm": norms[0],
        **last,
        "looks": [{key: round(value, 4) if math.isfinite(value) else None for key, value in row.items()} for row in looks],
        "cpu_seconds": round(time.process_time() - begun, 1),
    }


def made() -> list[dict]:
    """Arms that have been run."""
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.is_file() else []


def fall_of(row: dict) -> float:
    """The loss's first-order fall in the first step, nats: lr * min(|g|, clip) * |g|."""
    arm, norm = Arm(**row["arm"]), row["first_norm"]
    return arm.lr * norm * (norm if arm.clip is None else min(norm, arm.clip))


def print_table() -> None:
    """Print a line per arm, by the fall that its first step asks for."""
    columns = ("fall of the first step, nats", "budget", "clip", "lr", "decay", "width", "seed", "left chance", "budget then")
    print(f"| {' | '.join(columns)} | dead units of fc6 |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for row in sorted(made(), key=fall_of):
        arm = Arm(**row["arm"])
        left = f"step {row['left_chance_step']:,}" if row["left_chance_step"] else f"not in {row['steps']:,}"
        if row["nonfinite_step"]:
            left = f"not finite at {row['nonfinite_step']}"
        settings = (
            f"{arm.budget:+.1f}",
            arm.clip or "none",
            f"{arm.lr:g}",
            f"{arm.weight_decay:g}",
            f"{arm.width:g}",
            arm.seed,
        )
        measured = (left, f"{row['last_budget']:+.1f}", f"{row['last_dead']:.0%}")
        print(f"| {fall_of(row):.2g} | {' | '.join(map(str, (*settings, *measured)))} |")


def main() -> None:
    """Run what has not been run, within the time allowed, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-path", type=Path, help="the folder of the four idx files; the Hub without it")
    parser.add_argument("--cpu-minutes", type=float, default=30.0, help="over all calls; an arm that would begin later waits")
    parser.add_argument("--table", action="store_true", help="print what was run, and run nothing")
    options = parser.parse_args()
    if not options.table:
        torch.set_num_threads(1)
        config = DataConfig(name="mnist", path=options.data_path, crop=32, input="standard")
        data = dataset.load(RunConfig(data=config).completed().data, seed=0)
        done = {json.dumps(asdict(Arm(**row["arm"]))) for row in made()}
        spent = sum(row["cpu_seconds"] for row in made())
        for arm in ARMS:
            if json.dumps(asdict(arm)) in done or spent > 60 * options.cpu_minutes:
                continue
            row = run(arm, data)
            spent += row["cpu_seconds"]  # type: ignore[operator]
            with RESULTS.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{spent:.0f} s: {arm}: left chance at {row['left_chance_step']}", flush=True)
    print_table()


if __name__ == "__main__":
    main()
