"""Summarise the run of a training loop other than `train`, as far as Monitor could record it."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Mapping
from typing import Any

from trainability.doctor.reading import WINDOW_STEPS
from trainability.formats import NONE, finite, number, percent
from trainability.report.series import chance_levels
from trainability.report.summary import Tile
from trainability.training.record import Run


def title(run: Run) -> str:
    """Return the model's class and the directory's name, which the user chose."""
    return f"{model(run)} in {run.folder.resolve().name}"


def model(run: Run) -> str:
    """Return the model's class."""
    return str(run.loop.get("model", "A model"))


def missing(run: Run) -> list[str]:
    """List what the loop did not report; things that no loop reports (data, an initialisation plan) are not listed."""
    checks = [
        (run.environment, "Machine and versions: not recorded (no environment.json)."),
        (run.steps, "Training: no step is recorded yet."),
        (run.evaluations, f"Validation: no evaluation is recorded (monitor.record_evaluation); {_own_evaluations(run)}."),
        (run.layers, "Layers over time: no step was sampled (no layers.jsonl)."),
    ]
    return [text for present, text in checks if not present]


def _own_evaluations(run: Run) -> str:
    """Describe whether the loop's own passes over the validation data were measured."""
    seen = ((run.evidence or {}).get("facts") or {}).get("held_out")
    return f"{'some of the' if seen else 'the'} loop's own {'were' if seen else 'are not'} looked at"


def headlines(run: Run) -> list[Tile]:
    """Summarise validation loss and error, if the loop reported them; otherwise the training loss."""
    found = []
    for key, label, write in (("top1_error", "Validation top-1 error", percent), ("loss", "Validation loss", number)):
        measured = [row for row in run.evaluations if finite(row.get(f"val_{key}")) is not None]
        if measured:
            best, last = min(measured, key=lambda row: row[f"val_{key}"]), measured[-1]
            details = [f"Best, after step {best['step']:,}"]
            details.append(f"Last {write(last[f'val_{key}'])}, after step {last['step']:,}")
            levels = chance_levels(run)
            if levels is not None and key == "top1_error":
                details.append(f"Chance {percent(levels.top1_error)}")
            found.append(Tile(label=label, value=write(best[f"val_{key}"]), details=tuple(details)))
    losses = [(finite(row.get("loss")), row["step"]) for row in run.steps]
    if not found and losses:
        known = [loss for loss, _ in losses if loss is not None]
        value, step = losses[-1]
        if value is not None and len(known) >= WINDOW_STEPS:  # as for the verdict, a mean over a window, because batches differ
            value, said = statistics.fmean(known[-WINDOW_STEPS:]), f"Mean of the last {WINDOW_STEPS} steps, to step {step:,}"
        else:
            said = f"Last, at step {step:,}"
        found.append(Tile(label="Training loss", value=number(value), details=(said,)))
    return found


def tiles(run: Run) -> list[Tile]:
    """Summarise progress, speed, size and device."""
    machine, planned = run.environment, run.loop.get("planned_steps")
    device_type = str(machine.get("device_type", NONE))
    measured = [finite(row.get("steps_per_second")) for row in run.steps]
    speeds = [speed for speed in measured if speed is not None]
    usual = statistics.median(speeds[1:] or speeds) if speeds else None  # the first includes what is done once, at the start
    parameters = run.loop.get("num_parameters")
    return [
        Tile(
            label="Steps",
            value=f"{run.steps[-1]['step'] if run.steps else 0:,}",
            details=(f"of {planned:,} planned",) if planned else (),
        ),
        Tile(
            label="Evaluations",
            value=f"{len(run.evaluations):,}",
            details=() if run.evaluations else (f"None recorded; {_own_evaluations(run)}",),
        ),
        Tile(label="Steps/s", value=number(usual, ",.1f"), details=("Median",) if usual is not None else ()),
        Tile(
            label="Parameters",
            value=f"{parameters:,}" if parameters else NONE,
            details=(str(run.loop.get("model", NONE)), str(run.loop.get("optimizer") or "no optimizer given")),
        ),
        Tile(
            label="Device",
            value={"cpu": "CPU", "cuda": "GPU"}.get(device_type, device_type),
            details=(str(machine.get("device", NONE)),) if machine else (),
        ),
    ]


def settings(run: Run) -> dict[str, list[tuple[str, str]]]:
    """List the configuration that the user gave, nested names joined by dots."""
    rows = _flat(run.loop.get("config") or {})
    return {"config": rows} if rows else {}


def _flat(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in config.items():
        rows += _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", str(value))]
    return rows


def commands(run: Run) -> list[tuple[str, str]]:
    """Return the command that the process was started with."""
    command = run.environment.get("command")
    return [("The command of this run", _written(command))] if command else []


def _written(command: list[str]) -> str:
    """Write a command: its first string is the interpreter and the program, the others are the arguments."""
    return " ".join([command[0], *(shlex.quote(part) for part in command[1:])])
