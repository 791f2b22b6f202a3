"""Random programs trained to their end, and what the doctor says of them after thirty steps.

python benchmarks/verdicts.py run --count 600        # restartable; appends to benchmarks/results/verdicts-runs.jsonl

One row per program: its description, the reference loss (a fixed batch of training examples, fixed random numbers) over 400
steps, the critical step and other measurements at steps 0 to 100, and, where it did not train, whether the same program trains
with another learning rate.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from random_programs import Program, build, draw, train_step

from trainability.doctor.measure.critical import along_update
from trainability.doctor.measure.randomness import randomness_restored

RUNS = Path(__file__).parent / "results" / "verdicts-runs.jsonl"
STEPS = 400
_GRID = sorted({*range(0, 31, 5), 40, 60, 80, 100, *range(120, STEPS + 1, 20)})
_CRITICAL = (0, 5, 15, 29, 99)
_MEASURED = (0, 30, 100)
# Of the way from chance to the floor; a run has learned the task's beginnings when it is this far.
LEARNED = 0.25
_UP, _DOWN = (10.0, 1e2, 1e3, 1e4, 1e5), (0.1, 0.01, 1e-3)
_LARGEST_LR = {"sgd": 30.0, "momentum": 10.0, "nesterov": 10.0, "adagrad": 3.0, "adadelta": 1e3}


def reference_loss(program: Program) -> float:
    """The loss on the reference batch, in training mode with fixed random numbers; buffers are put back."""
    buffers = [(b, b.clone()) for b in program.model.buffers()]
    with randomness_restored(), torch.no_grad():
        torch.manual_seed(0)
        program.model.train()
        value = float(program.loss_fn(program.model(program.reference[0]), program.reference[1]))
        for buffer, old in buffers:
            buffer.copy_(old)
    return value


def train(spec: dict[str, Any], *, lr_scale: float = 1.0, features: bool = False) -> dict[str, Any]:
    """Trains one program; without `features` it stops as soon as the answer is clear."""
    program = build(spec, lr_scale=lr_scale, steps=STEPS)
    curve: dict[int, float] = {}
    row: dict[str, Any] = {"chance": _short(program.chance), "floor": _short(program.floor)}
    losses, norms, criticals, measured = [], [], {}, {}
    bad, learned = 0, 0
    for step in range(STEPS + 1):
        if step in _GRID:
            curve[step] = reference_loss(program)
            if not features:
                learned = learned + 1 if share_learned(curve[step], row) > LEARNED + 0.05 else 0
                moved = abs(curve[step] - curve[0]) / (row["chance"] - row["floor"])
                if learned >= 3 or (step >= 200 and moved < 0.01) or (step >= 100 and moved < 1e-4):
                    break
        if features and step in _MEASURED:
            measured[step] = _measure(program)
        if step == STEPS:
            break
        batch = next(program.batches)
        before = [p.detach().clone() for p in program.model.parameters()]
        loss = float(train_step(program, batch))
        if features and step < 100:
            losses.append(_short(loss))
            norms.append(_short(_gradient_norm(program)))
        if features and step in _CRITICAL:
            criticals[step + 1] = _critical(program, before, batch)
        bad = 0 if math.isfinite(loss) else bad + 1
        if bad >= 5:
            break
    row["curve"] = {step: _short(value, 8) for step, value in curve.items()}
    if features:
        row |= {"losses": losses[:30] + losses[30::5], "norms": norms[:30] + norms[30::5]}
        row |= {"critical": criticals, "measured": measured, "ended_at": max(curve)}
    return row


def share_learned(loss: float, row: dict[str, Any]) -> float:
    """How much of the way from chance to the floor; 0 at chance, negative above it or where the loss is not finite."""
    return (row["chance"] - loss) / (row["chance"] - row["floor"]) if math.isfinite(loss) else -math.inf


def end_loss(curve: dict[Any, float]) -> float:
    """Median of the reference loss over the last eighth of the run; NaN if the run did not get there."""
    late = sorted(value for step, value in curve.items() if int(step) > STEPS - 60)
    return late[len(late) // 2] if late and all(map(math.isfinite, late)) else math.nan


def _critical(program: Program, before: list[torch.Tensor], batch: tuple[torch.Tensor, torch.Tensor]) -> dict[str, Any]:
    buffers = [(b, b.clone()) for b in program.model.buffers()]

    def loss() -> torch.Tensor:
        with torch.no_grad():
            return program.loss_fn(program.model(batch[0]), batch[1])

    found = along_update(dict(program.model.named_parameters()), before, loss)
    with torch.no_grad():
        for buffer, old in buffers:
            buffer.copy_(old)
    ratios = sorted(ratio for _, ratio in found.update_ratios if ratio is not None) or [0.0]
    return {
        "multiple": _short(found.multiple),
        "at_limit": found.at_limit,
        "before": _short(found.loss_before, 8),
        "after": _short(found.loss_after, 8),
        "lowest": _short(found.lowest_loss, 8),
        "update_norm": _short(found.update_norm),
        "ratios": [_short(r) for r in (ratios[0], ratios[len(ratios) // 2], ratios[-1])],
        "forwards": found.num_evaluations,
    }


def _measure(program: Program) -> dict[str, Any]:
    """Outputs, gradients and weights on the reference batch."""
    buffers = [(b, b.clone()) for b in program.model.buffers()]
    parameters = [p for p in program.model.parameters() if p.requires_grad]
    with randomness_restored():
        torch.manual_seed(0)
        output = program.model(program.reference[0])
        loss = program.loss_fn(output, program.reference[1])
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    with torch.no_grad():
        for buffer, old in buffers:
            buffer.copy_(old)
    flat = output.detach().double()
    return {
        "output_rms": _short(float(flat.square().mean().sqrt())),
        "output_spread": _short(float(flat.std(dim=0, correction=0).square().mean().sqrt())),
        "weights": [_short(float(p.detach().square().mean().sqrt())) for p in parameters if p.dim() > 1],
        "gradients": [
            _short(float(g.square().mean().sqrt())) if g is not None else None
            for p, g in zip(parameters, gradients, strict=True)
            if p.dim() > 1
        ],
    }


def _gradient_norm(program: Program) -> float:
    norms = [torch.linalg.vector_norm(p.grad) for p in program.model.parameters() if p.grad is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0


def _short(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else float(f"{value:.{digits}g}")


def one(seed: int) -> dict[str, Any]:
    """The row of one program."""
    began = time.process_time()
    spec = draw(seed)
    row = {"spec": spec, **train(spec, features=True)}
    return row | {"cpu_seconds": round(time.process_time() - began, 2)}


def other_rates(row: dict[str, Any]) -> dict[str, float]:
    """Trains a program that did not train with other learning rates until one learns; the likelier direction first.

    Returns:
        By the factor on the rate, the share learned: the least of the last three evaluations.
    """
    spec, end, start = row["spec"], end_loss(row["curve"]), row["curve"]["0"]
    stable = math.isfinite(end) and end <= max(start, row["chance"]) * 1.001
    unmoved = max(abs(value - start) for value in row["curve"].values()) < 0.003 * (row["chance"] - row["floor"])
    downs = () if unmoved else _DOWN  # what does not move now moves less at a smaller rate
    ups = [f for f in _UP if spec["lr"] * f <= _LARGEST_LR.get(spec["optimizer"], 1.0)]
    found: dict[str, float] = {}
    for factor in [*ups, *downs] if stable else [*downs, *ups]:
        curve = train(spec, lr_scale=factor)["curve"]
        found[f"{factor:g}"] = float(_short(min(share_learned(value, row) for value in list(curve.values())[-3:]), 3) or 0)
        if found[f"{factor:g}"] > LEARNED:
            break
    return found


def rows(path: Path) -> list[dict[str, Any]]:
    """What the file holds so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def run(first: int, count: int, path: Path) -> None:
    """Appends the rows that the file lacks."""
    done = {row["spec"]["seed"] for row in rows(path)}
    for seed in range(first, first + count):
        if seed not in done:
            _append(one(seed), path)


def run_other_rates(path: Path) -> None:
    """Appends, to a second file, what other learning rates do for the programs that did not train."""
    second = path.with_name(path.stem + "-other-rates.jsonl")
    done = {row["seed"] for row in rows(second)}
    for row in rows(path):
        spec = row["spec"]
        if spec["seed"] in done or spec["fault"] == "never_steps" or share_learned(end_loss(row["curve"]), row) > LEARNED:
            continue
        _append({"seed": spec["seed"], "learned": other_rates(row)}, second)


def _append(row: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    runs, others = commands.add_parser("run"), commands.add_parser("other-rates")
    for command in (runs, others):
        command.add_argument("--path", type=Path, default=RUNS)
    runs.add_argument("--first", type=int, default=0)
    runs.add_argument("--count", type=int, default=600)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.command == "run":
        run(arguments.first, arguments.count, arguments.path)
    else:
        run_other_rates(arguments.path)


if __name__ == "__main__":
    main()
