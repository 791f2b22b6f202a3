"""The rehearsal of a random program, out of the row that `verdicts.py` keeps of its run."""

import math
from typing import Any

from random_programs import Program, build

from trainability.doctor.rehearsed import CriticalStep, Observation, OtherRate, Rehearsal, RehearsedStep, Task
from trainability.doctor.serial import from_plain, to_plain
from trainability.doctor.tasks import recognise

STEPS = 300  # of a whole run


def seen_at_start(spec: dict[str, Any]) -> dict[str, Any]:
    """What the doctor recognises on the reference batch before the first step, and the first hundred learning rates."""
    program = build(spec, steps=STEPS)
    program.model.train()
    inputs, targets = program.reference
    output = program.model(inputs)
    task = recognise(output, [("[1]", targets)], float(program.loss_fn(output, targets).detach()))
    return {"task": to_plain(task), "lrs": _rates(program, 100)}


def task_of(row: dict[str, Any]) -> Task:
    """The task as it was recognised."""
    return from_plain(Task, row["task"])


def rehearsal_of(row: dict[str, Any], steps: int) -> Rehearsal:
    """The rehearsal of that many steps; its other rates only where that many steps were taken at them."""
    never = row["spec"]["fault"] == "never_steps"
    seen = list(zip(row["losses"], row["norms"], row["lrs"], strict=False))[:steps]
    body = [
        RehearsedStep(step=i + 1, loss=loss, gradient_norm=norm, lr=None if never else rate, optimizer_steps=int(not never))
        for i, (loss, norm, rate) in enumerate(seen)
    ]
    critical = [(int(step), _critical(values)) for step, values in row["critical"].items() if int(step) <= steps]
    bad = any(not math.isfinite(step.loss or 0.0) for step in body) or max(map(int, row["curve"])) < steps
    return Rehearsal(
        steps=tuple(body),
        reference=observations(row["curve"], steps),
        critical=tuple(critical),
        other_rates=tuple(other_rate(rate) for rate in row.get("tried", ()) if rate["steps"] == steps),
        task=task_of(row),
        planned_steps=STEPS,
        ended_by="not finite" if bad else "steps",
        num_parameters=1,
        unmoved=("weight",) if never else (),
        stale_fraction=1.0 if row["spec"]["fault"] == "no_zero_grad" else 0.0,  # what the rehearsal counts
    )


def other_rate(tried: dict[str, Any]) -> OtherRate:
    """A rehearsal at another rate."""
    return OtherRate(
        scale=tried["scale"],
        schedule_steps=tried["schedule_steps"],
        reference=observations(tried["curve"], tried["steps"]),
        ended_by=tried["ended_by"],
    )


def observations(curve: dict[Any, Any], steps: int) -> tuple[Observation, ...]:
    """Looks at the reference batch, up to that step."""
    return tuple(
        Observation(step=int(step), loss=loss, output_rms=rms, output_spread=spread)
        for step, (loss, rms, spread) in curve.items()
        if int(step) <= steps
    )


def _critical(values: dict[str, Any]) -> CriticalStep:
    return CriticalStep(
        multiple=values["multiple"],
        at_limit=values["at_limit"],
        loss_before=values["before"],
        loss_after=values["after"],
        lowest_loss=values["lowest"],
        resolution=4 * 1.2e-7 * abs(values["before"]),
        update_norm=values["update_norm"],
        num_evaluations=values["forwards"],
    )


def _rates(program: Program, steps: int) -> list[float]:
    rates = []
    for _ in range(steps):
        rates.append(program.optimizer.param_groups[0]["lr"])
        if program.scheduler is not None:
            program.optimizer.step()
            program.scheduler.step()
    return rates
