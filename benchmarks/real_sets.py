"""Predicted against measured steps at chance, on MNIST and CIFAR-10, in runs of `train`.

    python benchmarks/real_sets.py run --data-root ../shared/data --processes 16   # restartable; about an hour of one core
    python benchmarks/real_sets.py recheck --data-root ../shared/data              # checks anew what was trained
    python benchmarks/real_sets.py score                                           # the table
    python benchmarks/real_sets.py small --data-root ../shared/data --out sets     # a smaller copy, for another machine

VGG-A, B, D and E at a quarter and at an eighth of their width, 32 pixels, batches of 64. The starting weights have a gain
budget between -7.5 and +1, input included, spread evenly or at random over the layers, or are those of a scheme; learning
rate 0.003 to 0.1, momentum 0.9 or none; weight decay, clip and dropout differ. All of it is in the configuration, so that
`trainability check` and `trainability train` do the same with the same flags.

First every run is checked (`trainability.checking.run.check_config`), and what the check said is written down. Then those
that are predicted to leave chance within `--most-steps` (half of it at a quarter of the width), or never to, are trained with
`fit`, until they have left or for 2.2 times their prediction (at least 400 steps); those that are never to leave, for
`--never-steps`. A run has left chance at the first step at which the mean of its last 20 losses is below 0.9 ln 10
(docs/theory.md, section 7). A prediction holds where it is within a factor 2 of that step.

`data-root` has the folders mnist (the idx files) and cifar10 (train.parquet, test.parquet).
"""

import argparse
import dataclasses
import json
import math
import multiprocessing
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch
from prediction_runs import rehearsed
from verdict_table import wilson

from trainability.checking.run import check_config
from trainability.config import DataConfig, InitConfig, ModelConfig, OptimConfig, RunConfig, RunSettings
from trainability.data import dataset
from trainability.doctor.reading import LEARNED, WINDOW_STEPS, total_budget
from trainability.initialization.weights import fans, weight_layers
from trainability.training import engine as engines
from trainability.training.loop import fit
from trainability.training.parts import assemble, build_model
from trainability.training.record import RunWriter, environment

DATA = Path(__file__).parents[2] / "shared" / "data"
RUNS = Path(__file__).parent / "results" / "real-sets.jsonl"
CHANCE = math.log(10)
SETS = ("mnist", "cifar10")
NETS = ("A", "B", "D", "E")
NARROW = 1 / 8
FACTOR, PATIENCE, FEWEST_STEPS = 2.0, 2.2, 400
# log10 of the mean square of the pixels less their mean.
LOG10_SQUARE = {("mnist", "mean"): 3.8, ("cifar10", "mean"): 3.6, ("mnist", "standard"): 0.0, ("cifar10", "standard"): 0.0}
Row = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run is made."""

    data_root: Path
    cache: Path | None
    device: str
    never_steps: int
    rehearse: float = 10.0


# ------------------------------------------------------------------------------------------------------------- drawing


def draw(number: int) -> Row:
    """Describe the run of that number in plain data."""
    rng = random.Random(f"real sets {number}")
    spec: Row = {
        "name": f"real-{number:03d}",
        "seed": number,
        "data": SETS[number % 2],
        "net": NETS[number // 2 % 4],
        "width": (2 * NARROW, NARROW)[number // 8 % 2],
        "start": rng.choices(["even", "shares", "scheme"], [3, 3, 2])[0],
        "budget": round(rng.uniform(-7.5, 1.0), 2),
        "input": rng.choice(["standard", "standard", "mean"]),
        "lr": float(f"{10 ** rng.uniform(-2.5, -1.0):.3g}"),
        "momentum": rng.choice([0.9, 0.9, 0.9, 0.0]),
        "weight_decay": rng.choice([0.0, 5e-4, 5e-4, 5e-4, 5e-3, 2e-2]),
        "clip": rng.choice([None, None, 1.0]),
        "dropout": rng.choice([0.0, 0.5]),
    }
    std = float(f"{10 ** rng.uniform(-2.0, -1.0):.2g}")
    scheme = rng.choice(["he", "xavier", "lecun", "orthogonal", f"xavier:4,normal={std},xavier:3"])
    return {**spec, "plan": scheme if spec["start"] == "scheme" else plan_of(spec, rng)}


def plan_of(spec: Row, rng: random.Random) -> str:
    """A plan, one normal distribution a layer, whose gains have the budget that is asked for."""
    with torch.device("meta"):
        model = build_model(RunConfig(model=ModelConfig(config=spec["net"], width=spec["width"])).completed(), num_classes=10)
    layers = [module for _, module in weight_layers(model)]
    shares = [1.0 if spec["start"] == "even" else rng.expovariate(1.0) for _ in layers]
    decades = spec["budget"] - LOG10_SQUARE[spec["data"], spec["input"]]
    stds = (
        math.sqrt(2 / fans(module)[0]) * 10 ** (decades * share / sum(shares) / 2)
        for module, share in zip(layers, shares, strict=True)
    )
    return ",".join(f"normal={std:.4g}:1" for std in stds)


def config_of(spec: Row, place: Place) -> RunConfig:
    """The run as `train` takes it."""
    return RunConfig(
        model=ModelConfig(config=spec["net"], width=spec["width"], dropout=spec["dropout"]),
        init=InitConfig(plan=spec["plan"]),
        data=DataConfig(
            name=spec["data"], path=place.data_root / spec["data"], crop=32, size=32, input=spec["input"], cache=place.cache
        ),
        optim=OptimConfig(
            lr=spec["lr"],
            momentum=spec["momentum"],
            weight_decay=spec["weight_decay"],
            clip=spec["clip"],
            batch_size=64,
            schedule="constant",
            epochs=15,
        ),
        run=RunSettings(seed=spec["seed"], device=place.device),  # type: ignore[arg-type]
    ).completed()


# ------------------------------------------------------------------------------------------------- checking and training


def checked(spec: Row, place: Place) -> Row:
    """What the check says before the first step."""
    began, used = time.monotonic(), time.process_time()
    config = config_of(spec, place)
    diagnosis = check_config(dataclasses.replace(config, run=dataclasses.replace(config.run, rehearse_seconds=place.rehearse)))
    seen, rehearsal = diagnosis.evidence.probe, diagnosis.evidence.rehearsal
    assert seen is not None
    return {
        "predicted": _plain(seen.plateau_steps),
        "budget": _plain(total_budget(seen)),
        "verdict": diagnosis.verdict,
        "reason": diagnosis.reason,
        "findings": [[finding.code, finding.severity] for finding in diagnosis.findings],
        "problems": list(diagnosis.evidence.problems),
        "rehearsal": rehearsed(rehearsal) if rehearsal is not None else None,
        "growth": dataclasses.asdict(rehearsal.growth) if rehearsal is not None and rehearsal.growth is not None else None,
        "seconds": round(time.monotonic() - began, 1),
        "processor_seconds": round(time.process_time() - used, 1),
    }


class Watch:
    """A display that ends the run once it has left chance, or has been given its steps."""

    def __init__(self, most: int) -> None:
        """Watch at most so many steps."""
        self.most = most
        self.losses: list[float] = []
        self.left: int | None = None

    def rows(self, rows: list[Row]) -> None:
        """Read the losses of some steps."""
        for row in rows:
            self.losses.append(math.nan if row["loss"] is None else row["loss"])
            recent = self.losses[-WINDOW_STEPS:]
            if self.left is None and len(recent) == WINDOW_STEPS and statistics.fmean(recent) < LEARNED * CHANCE:
                self.left = len(self.losses)
        if self.left is not None or len(self.losses) >= self.most:
            raise _Enough

    def start(self, start: object) -> None:
        """Nothing to show."""

    def step(self, position: object) -> None:
        """Nothing to show."""

    def evaluation(self, row: object) -> None:
        """Nothing to show."""

    def diagnosed(self, diagnosis: object, new: object) -> None:
        """Not asked again."""


class _Enough(Exception):
    pass


def trained(spec: Row, place: Place, predicted: float) -> Row:
    """The run itself, by `fit`, from the weights that were checked."""
    began, used = time.monotonic(), time.process_time()
    most = place.never_steps if math.isinf(predicted) else max(FEWEST_STEPS, math.ceil(PATIENCE * predicted))
    config = config_of(spec, place)
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, check="off", monitor_every_steps=None))
    watch, ended_by = Watch(most), None
    with engines.start(config.run) as engine, tempfile.TemporaryDirectory() as folder:
        record = RunWriter.create(Path(folder) / "run", config)
        try:
            ended_by = fit(config, assemble(config, engine), record, engine=engine, display=watch).status
        except _Enough:
            ended_by = "left" if watch.left is not None else "most steps"
    losses = watch.losses
    means = [statistics.fmean(losses[end - 50 : end]) for end in range(50, len(losses) + 1, 50)]
    return {
        "left": watch.left,
        "ended_by": ended_by,
        "steps": len(losses),
        "first_loss": _plain(losses[0]),
        "means_of_fifty": [_plain(mean) for mean in means],
        "seconds": round(time.monotonic() - began, 1),
        "processor_seconds": round(time.process_time() - used, 1),
    }


def _plain(value: float | None) -> float | str | None:
    """A number that JSON takes; infinity and NaN as text."""
    return value if value is None or math.isfinite(value) else str(value)


def _one_thread() -> None:
    torch.set_num_threads(1)


def rows(path: Path) -> dict[str, Row]:
    """What the file holds, by name: the parts of a run joined; a line that was cut off is made again."""
    found: dict[str, Row] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            part = json.loads(line)
        except ValueError:
            continue
        found.setdefault(part["name"], {}).update(part)
    return found


def run(options: argparse.Namespace) -> None:
    """Check, then train, what the file lacks; the longest first, so that a pool ends together; in one process the shortest."""
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes
    options.path.parent.mkdir(parents=True, exist_ok=True)
    place = Place(
        data_root=options.data_root,
        cache=options.cache,
        device=options.device,
        never_steps=options.never_steps,
        rehearse=options.rehearse_seconds,
    )
    specs = {spec["name"]: spec for spec in map(draw, range(options.first, options.first + options.count))}
    machine = environment(device=torch.device("cpu"), world_size=1) | {"device_asked": options.device}
    del machine["command"]
    for name in SETS:  # packed once, before all the processes ask for it
        dataset.load(config_of({**draw(SETS.index(name))}, place).data, seed=0)
    end = time.monotonic() + 60 * options.minutes
    # Started anew: a fork of a process whose threads have run can hang, and has no GPU.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, mp_context=context, initializer=_one_thread) as pool:
        done = rows(options.path)
        lacking = [spec for name, spec in specs.items() if "check" not in done.get(name, {})]
        for spec, result in _in_turn(pool, checked, [(spec, place) for spec in lacking], end):
            _append(options.path, {"name": spec["name"], "spec": spec, "check": result, "machine": machine})
        lasting = {name: _wait(row) for name, row in rows(options.path).items() if name in specs and "run" not in row}
        longest = {name: options.most_steps * NARROW / specs[name]["width"] for name in lasting}
        wanted = {
            name: wait for name, wait in lasting.items() if wait is not None and (wait <= longest[name] or math.isinf(wait))
        }
        cost = lambda name: min(wanted[name], options.never_steps) * specs[name]["width"]  # noqa: E731
        tasks = [(specs[name], place, wanted[name]) for name in sorted(wanted, key=cost, reverse=options.processes > 1)]
        for spec, result in _in_turn(pool, trained, tasks, end):
            _append(options.path, {"name": spec["name"], "run": result})


def recheck(options: argparse.Namespace) -> None:
    """Check anew, one after the other, what was trained and has no such check of as many seconds yet."""
    place = Place(
        data_root=options.data_root, cache=options.cache, device="cpu", never_steps=0, rehearse=options.rehearse_seconds
    )
    machine = environment(device=torch.device("cpu"), world_size=1)
    del machine["command"]
    for name, row in rows(options.path).items():
        if "run" in row and row.get("rehearse_seconds") != options.rehearse_seconds:
            check = checked(row["spec"], place)
            _append(
                options.path,
                {"name": name, "check": check, "machine": machine, "rehearse_seconds": options.rehearse_seconds},
            )


def _in_turn(
    pool: ProcessPoolExecutor, work: Callable[..., Row], tasks: list[tuple[Any, ...]], end: float
) -> Iterator[tuple[Row, Row]]:
    """Results as they come; what has not begun at the end is left."""
    waiting = {pool.submit(work, *task): task[0] for task in tasks}
    for future in as_completed(waiting):
        if future.cancelled():
            continue
        yield waiting[future], future.result()
        if time.monotonic() > end:
            for other in waiting:
                other.cancel()


def _append(path: Path, part: Row) -> None:
    with path.open("a") as file:
        file.write(json.dumps(part, allow_nan=False) + "\n")
    what = part.get("run") or part["check"]
    told = {key: what[key] for key in ("predicted", "verdict", "left", "ended_by", "steps", "seconds") if key in what}
    print(part["name"], told, flush=True)


def _wait(row: Row) -> float | None:
    predicted = row["check"]["predicted"]
    return None if predicted is None else float(predicted)


# ------------------------------------------------------------------------------------------------------------- scoring


def holds(predicted: float, left: int | None) -> bool:
    """Whether a prediction is within a factor 2 of what happened."""
    if left is None:
        return math.isinf(predicted)
    return 1 / FACTOR <= predicted / left <= FACTOR


def scored(found: list[Row]) -> Row:
    """Every figure of the table."""
    run = [row for row in found if "run" in row]
    left = [row for row in run if row["run"]["left"] is not None]
    near = [row for row in left if holds(_wait(row) or 0.0, row["run"]["left"])]
    never = [row for row in run if _wait(row) == math.inf]
    ratios = sorted((_wait(row) or 0.0) / row["run"]["left"] for row in left if math.isfinite(_wait(row) or 0.0))
    result: Row = {
        "checked": len(found),
        "run": len(run),
        "left": len(left),
        "within a factor 2": [len(near), len(left), *(round(value, 3) for value in wilson(len(near), len(left)))],
        "predicted over measured, quartiles": [round(q, 2) for q in statistics.quantiles(ratios, n=4)]
        if len(ratios) > 1
        else [],
        "never said": len(never),
        "never said of one that left": [row["name"] for row in never if row["run"]["left"] is not None],
        "end predicted, and still at chance after 2.2 times that": [
            row["name"] for row in run if row["run"]["ended_by"] == "most steps" and math.isfinite(_wait(row) or 0.0)
        ],
        "not finite": [row["name"] for row in run if row["run"]["ended_by"] == "non-finite"],
        "dead or unstable said of one that left": [
            row["name"] for row in left if row["check"]["verdict"] in ("dead", "unstable")
        ],
    }
    for what, low, high in (("below 100", 0, 100), ("from 100", 100, math.inf)):
        part = [row for row in left if low <= (_wait(row) or 0.0) < high]
        result[f"within a factor 2, predicted {what}"] = [sum(row in near for row in part), len(part)]
    for key in ("data", "net", "width"):
        for value in sorted({row["spec"][key] for row in left}, key=str):
            part = [row for row in left if row["spec"][key] == value]
            result[f"within a factor 2, {key} {value}"] = [sum(row in near for row in part), len(part)]
    return result


def score(options: argparse.Namespace) -> None:
    """Print a line a run, then the figures."""
    found = sorted(rows(options.path).values(), key=lambda row: (_wait(row) or 0.0, row["name"]))
    print("run       set      net width budget      lr  decay clip predicted   left  verdict")
    for row in (row for row in found if "run" in row):
        spec, check, left, predicted = row["spec"], row["check"], row["run"]["left"], _wait(row) or 0.0
        ended = left if left is not None else f">{row['run']['steps']}"
        decided = left is not None or row["run"]["ended_by"] == "most steps"
        print(
            f"{row['name']:9} {spec['data']:8} {spec['net']:3} {spec['width']:5g} {check['budget'] or 0:6.1f} {spec['lr']:7g}"
            f" {spec['weight_decay']:6g} {spec['clip'] or 0:4g} {predicted:9,.0f} {ended:>6}  {check['verdict']}"
            f"{'  *' * (decided and not holds(predicted, left))}"
        )
    for name, value in scored(found).items():
        print(f"{name}: {value}")


def small(options: argparse.Namespace) -> None:
    """Copy MNIST, and the first images of CIFAR-10, which come shuffled."""
    import pyarrow.parquet as pq

    shutil.copytree(options.data_root / "mnist", options.out / "mnist", dirs_exist_ok=True, copy_function=shutil.copyfile)
    (options.out / "cifar10").mkdir(exist_ok=True)
    for name, num in (("train", options.images), ("test", options.images // 5)):
        pq.write_table(
            pq.read_table(options.data_root / "cifar10" / f"{name}.parquet").slice(0, num),
            options.out / "cifar10" / f"{name}.parquet",
        )


def main() -> None:
    """Run a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("--processes", type=int, default=1)
    running.add_argument("--first", type=int, default=0)
    running.add_argument("--count", type=int, default=64)
    running.add_argument(
        "--most-steps",
        type=int,
        default=4000,
        help="longest predicted stay of a run that is trained, at an eighth of the width",
    )
    running.add_argument("--never-steps", type=int, default=2000, help="steps of a run that is never to leave")
    running.add_argument("--minutes", type=float, default=60.0, help="of this call; what is not begun by then is left")
    running.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    again = commands.add_parser("recheck")
    for command in (running, again):
        command.add_argument("--rehearse-seconds", type=float, default=10.0, help="most seconds of a check for rehearsed steps")
        command.add_argument("--cache", type=Path, default=None, help="folder of the packs")
    smaller = commands.add_parser("small")
    smaller.add_argument("--out", type=Path, required=True)
    smaller.add_argument("--images", type=int, default=50_000, help="of CIFAR-10; a fifth as many to validate with")
    for command in (running, again, smaller):
        command.add_argument("--data-root", type=Path, default=DATA)
    for command in (running, again, commands.add_parser("score")):
        command.add_argument("--path", type=Path, default=RUNS)
    options = parser.parse_args()
    {"run": run, "recheck": recheck, "score": score, "small": small}[options.command](options)


if __name__ == "__main__":
    main()
