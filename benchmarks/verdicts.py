"""Random programs trained to their end, and what the doctor measures of them in their first hundred steps.

python benchmarks/verdicts.py --count 600            # restartable; appends to benchmarks/results/verdicts-runs.jsonl

One row per program: its description, the loss on a fixed batch of training examples (with fixed random numbers) over 300 steps,
losses, gradient norms and critical steps of the first hundred, the rehearsals at other learning rates that the doctor asks for,
and, where it did not train, what the same program does in 300 steps at other learning rates, from the usual one outwards, until
it learns. Rows of an older version are completed.
"""

import argparse
import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from random_programs import USUAL_LR, Program, build, draw, train_step
from verdict_rehearsals import STEPS, other_rate, rehearsal_of, seen_at_start

from trainability.doctor.measure.critical import along_update
from trainability.doctor.measure.randomness import randomness_restored
from trainability.doctor.other_rates import schedule_steps
from trainability.doctor.outlook import wanted_scale

RUNS = Path(__file__).parent / "results" / "verdicts-runs.jsonl"
WATCHED = 100  # steps whose losses, norms and critical steps are kept
_GRID = sorted({*range(0, 31, 5), *range(40, 101, 10), *range(120, STEPS + 1, 20)})
_CRITICAL = (1, 5, 15, 30, 60, 100)
# Of the way from chance to the floor; a run has learned the task's beginnings when it is this far.
LEARNED = 0.25
_CLEAR = 0.05  # beyond it, by this much, three times in a row: no more steps are needed to know
# Looks at the reference batch of a rehearsal at another rate.
_LOOKS = range(0, 101, 10)


def observe(program: Program) -> tuple[float, float, float]:
    """Loss, output rms and output spread on the reference batch, in training mode with fixed random numbers."""
    buffers = [(b, b.clone()) for b in program.model.buffers()]
    with randomness_restored(), torch.no_grad():
        torch.manual_seed(0)
        program.model.train()
        output = program.model(program.reference[0])
        loss = float(program.loss_fn(output, program.reference[1]))
        for buffer, old in buffers:
            buffer.copy_(old)
    wide = output.double()
    return loss, float(wide.square().mean().sqrt()), float(wide.std(dim=0, correction=0).square().mean().sqrt())


def train(spec: dict[str, Any]) -> dict[str, Any]:
    """Trains one program to its end and keeps what is seen on the way."""
    program = build(spec, steps=STEPS)
    row: dict[str, Any] = {"chance": _short(program.chance), "floor": _short(program.floor)}
    curve, losses, norms, criticals = {}, [], [], {}
    bad = 0
    for step in range(STEPS + 1):
        if step in _GRID:
            curve[step] = [_short(value, 8) for value in observe(program)]
        if step == STEPS:
            break
        batch = next(program.batches)
        measured = step + 1 in _CRITICAL
        before = [p.detach().clone() for p in program.model.parameters()] if measured else []
        loss = float(train_step(program, batch))
        if step < WATCHED:
            losses.append(_short(loss))
            norms.append(_short(_gradient_norm(program)))
        if measured:
            criticals[step + 1] = _critical(program, before, batch)
        bad = 0 if math.isfinite(loss) else bad + 1
        if bad >= 5:
            break
    return row | {"curve": curve, "losses": losses, "norms": norms, "critical": criticals}


def train_at(spec: dict[str, Any], lr: float, row: dict[str, Any]) -> dict[str, float]:
    """Trains one program at another rate, until it is clear whether it learns.

    Returns:
        The least share learned at the last three looks, and the spread of the outputs over their size at the end.
    """
    program = build(spec | {"lr": lr}, steps=STEPS)
    shares: list[float] = []
    learned, spread = 0, 0.0
    for step in range(STEPS + 1):
        if step in _GRID:
            loss, rms, deviation = observe(program)
            shares.append(share_learned(loss, row))
            spread = deviation / max(rms, 1e-30)
            learned = learned + 1 if shares[-1] > LEARNED + _CLEAR else 0
            if learned >= 3 or not math.isfinite(loss) or (step >= 200 and abs(shares[-1] - shares[0]) < 0.01):
                break
        if step < STEPS:
            train_step(program, next(program.batches))
    return {"lr": lr, "share": float(_short(min(shares[-3:]), 3) or 0.0), "spread": float(_short(spread, 3) or 0.0)}


def share_learned(loss: float, row: dict[str, Any]) -> float:
    """How much of the way from chance to the floor; 0 at chance, negative above it or where the loss is not finite."""
    return (row["chance"] - loss) / (row["chance"] - row["floor"]) if math.isfinite(loss) else -math.inf


def end_loss(curve: dict[Any, Any]) -> float:
    """Median of the reference loss over the last fifth of the run; NaN if the run did not get there."""
    late = sorted(values[0] for step, values in curve.items() if int(step) > STEPS - 60)
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


def _gradient_norm(program: Program) -> float:
    norms = [torch.linalg.vector_norm(p.grad) for p in program.model.parameters() if p.grad is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0


def _short(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else float(f"{value:.{digits}g}")


def other_rates(spec: dict[str, Any], row: dict[str, Any]) -> list[dict[str, float]]:
    """Trains a program that did not train at other learning rates until one learns; the likelier direction first."""
    end, start = end_loss(row["curve"]), row["curve"][next(iter(row["curve"]))][0]
    stable = math.isfinite(end) and end <= max(start, row["chance"]) * 1.001
    unmoved = max(abs(values[0] - start) for values in row["curve"].values()) < 0.003 * (row["chance"] - row["floor"])
    own, usual = spec["lr"], USUAL_LR[spec["optimizer"]]
    powers = [10.0**k for k in range(1, 7)]
    ups = _apart([usual, 10 * own, 10 * usual, *(own * power for power in powers)], 3 * own, 10 * usual, usual)
    downs = _apart([usual, usual / 10, *(own / power for power in powers[:2])], 0.0, own / 3, own)
    if unmoved:
        order = ups[:5]  # what does not move now moves less at a smaller rate
    elif stable:
        order = [*ups[:2], *downs[:1], *ups[2:5]]
    else:
        order = [*downs[:2], *ups[:1], *downs[2:3]]
    found = list(row.get("other_rates", ()))
    for lr in order:
        if any(other["share"] > LEARNED for other in found):
            break
        if not any(0.67 < lr / other["lr"] < 1.5 for other in found):
            found.append(train_at(spec, float(f"{lr:.3g}"), row))
    return found


def _apart(rates: list[float], least: float, most: float, middle: float) -> list[float]:
    """Rates between two, a factor 2 or more apart, the nearest to the middle first."""
    kept: list[float] = []
    for lr in sorted(rates, key=lambda lr: abs(math.log(lr / middle))):
        if least <= lr <= most * 1.01 and not any(0.5 < lr / other < 2 for other in kept):
            kept.append(lr)
    return kept


def rehearsed_at(spec: dict[str, Any], scale: float, speed: int, steps: int) -> dict[str, Any]:
    """Rehearses a program at so many times its rate, its scheduler stepped so often for each step."""
    program = build(spec | {"lr": spec["lr"] * scale}, steps=STEPS)
    curve: dict[int, list[float | None]] = {}
    ended_by = "steps"
    for step in range(steps + 1):
        if step in _LOOKS:
            curve[step] = [_short(value, 6) for value in observe(program)]
        if step == steps:
            break
        loss = float(train_step(program, next(program.batches)))
        if program.scheduler is not None:
            for _ in range(speed - 1):
                program.scheduler.step()
        if not math.isfinite(loss):
            curve[step + 1], ended_by = [None, None, None], "not finite"
            break
    return {"scale": scale, "schedule_steps": speed, "steps": steps, "curve": curve, "ended_by": ended_by}


def tried(spec: dict[str, Any], row: dict[str, Any]) -> list[dict[str, Any]]:
    """The rehearsals at other rates that the doctor asks for, one after the other."""
    had = {rate["scale"]: rate for rate in row.get("tried", ())}
    found: list[dict[str, Any]] = []
    rehearsal = rehearsal_of(row | {"spec": spec, "tried": []}, WATCHED)
    while (scale := wanted_scale(rehearsal)) is not None:
        found.append(had.get(scale) or rehearsed_at(spec, scale, schedule_steps(rehearsal, scale), WATCHED))
        rehearsal = replace(rehearsal, other_rates=(*rehearsal.other_rates, other_rate(found[-1])))
    return found


def one(seed: int) -> dict[str, Any]:
    """The row of one program."""
    began = time.process_time()
    spec = draw(seed)
    row = completed({"spec": spec, **train(spec)})
    return row | {"cpu_seconds": round(time.process_time() - began, 2)}


def completed(row: dict[str, Any]) -> dict[str, Any]:
    """A row with everything in it."""
    spec = row["spec"]
    row = row | ({} if "task" in row else seen_at_start(spec))
    trained = share_learned(end_loss(row["curve"]), row) > LEARNED
    others = [] if trained or spec["fault"] == "never_steps" else other_rates(spec, row)
    return row | {"other_rates": others, "tried": tried(spec, row)}


def rows(path: Path) -> list[dict[str, Any]]:
    """What the file holds so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main() -> None:
    """Appends the rows that the file lacks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, default=RUNS)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=600)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.path.parent.mkdir(exist_ok=True)
    old = rows(arguments.path)
    changed = 0
    for place, row in enumerate(old):
        old[place] = completed(row)
        changed += old[place] != row
        if changed and (changed % 20 == 0 or place == len(old) - 1):
            arguments.path.write_text("".join(json.dumps(each) + "\n" for each in old))
    done = {row["spec"]["seed"] for row in old}
    for seed in range(arguments.first, arguments.first + arguments.count):
        if seed not in done:
            row = one(seed)
            with arguments.path.open("a") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
