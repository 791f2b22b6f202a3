"""Summarise a run in words and numbers for its page."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from typing import Any

from trainability import config as configuration
from trainability.doctor.layer_table import init_budget, init_cells, log10_gain, power
from trainability.doctor.view import tone
from trainability.formats import NONE, duration, finite, number, percent
from trainability.report.figures import METRICS
from trainability.report.series import chance_levels, steps_per_epoch
from trainability.training.record import Run
from trainability.training.run_state import run_state


@dataclass(frozen=True, kw_only=True)
class Status:
    """Status of a run: `kind` selects the colour, `label` and `text` are shown."""

    kind: str
    label: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A number of the summary with explaining lines."""

    label: str
    value: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class InitRow:
    """A row of the initialisation table; `start` and `length` place the bar of its gain, in percent of the cell."""

    cells: tuple[str, ...]
    start: float
    length: float


def title(run: Run) -> str:
    """Return network and data set."""
    config = run.train_config
    overfit = config.run.overfit_batches
    test = "" if overfit is None else f", overfit test on {overfit:,} {'batch' if overfit == 1 else 'batches'}"
    return f"VGG-{config.model.config} on {config.data.name}{test}"


def status(run: Run) -> Status:
    """Return how the run ended, or that no end is recorded."""
    step = run.steps[-1]["step"] if run.steps else 0
    if run.result is None:
        state = run_state(run.folder, None).capitalize()
        return Status(kind="open", label=state, text=f"No end was recorded. Last recorded step: {step:,}.")
    message = run.result.get("message") or ""
    found = run.findings or {}
    doubts = any(finding.get("severity") != "hint" for finding in found.get("findings", ()))
    doubts |= "verdict" in found and tone(str(found["verdict"])) == "bad"
    labels = {
        "finished": ("open" if doubts else "good", "Finished", message),  # red is for a run that did not finish
        "interrupted": ("open", "Interrupted", f"At step {run.result.get('step', step):,}: {message}."),
        "non-finite": ("bad", "Stopped: not finite", message),
        "stopped": ("bad", "Stopped by the doctor", message),
        "failed": ("bad", "Failed", message),
    }
    ended = str(run.result.get("status", "ended"))
    kind, label, text = labels.get(ended, ("open", ended, message))
    return Status(kind=kind, label=label, text=text)


def missing(run: Run) -> list[str]:
    """List what is missing in the run directory and therefore on the page."""
    checks = [
        (run.data, "Data: number of images and classes are not recorded (no data.json), so there is no chance level."),
        (run.init, "Initialisation: not recorded (no init.json)."),
        (run.environment, "Machine and versions: not recorded (no environment.json)."),
        (run.steps, "Training: no step is recorded yet."),
        (run.evaluations, "Validation: no epoch has ended yet."),
        (run.layers, "Layers over time: no step was sampled (no layers.jsonl)."),
        (run.evidence, "Closed form: the run was neither probed nor monitored (no evidence.json)."),
    ]
    return [text for present, text in checks if not present]


def headlines(run: Run) -> list[Tile]:
    """Summarise the validation errors."""
    return [headline(run, "top1"), headline(run, "top5")]


def headline(run: Run, name: str) -> Tile:
    """Summarise a validation error: the best, the last, and the number of images."""
    metric, levels = METRICS[name], chance_levels(run)
    label = f"Validation {metric.title.lower()}"
    if levels and getattr(levels, metric.key) is None:
        return Tile(label=label, value=NONE, details=(f"Not defined for {len(run.data['class_names'])} classes.",))
    key = f"val_{metric.key}"
    measured = [row for row in run.evaluations if finite(row.get(key)) is not None]
    if not run.evaluations:
        return Tile(label=label, value=NONE, details=("Not evaluated yet.",))
    if not measured:
        return Tile(label=label, value=NONE, details=("Never finite.",))

    def counted(row: dict[str, Any]) -> str:
        count, epoch = row.get("val_num_examples"), row.get("epoch", NONE)
        return f"epoch {epoch}: {round(row[key] * count):,} of {count:,} images wrong" if count else f"epoch {epoch}"

    best, last = min(measured, key=lambda row: row[key]), run.evaluations[-1]
    details = [f"Best, {counted(best)}"]
    if finite(last.get(key)) is None:
        details.append(f"Last, epoch {last.get('epoch', NONE)}: not finite")
    elif last is not best:
        details.append(f"Last {percent(last[key])}, {counted(last)}")
    else:
        details.append(f"Last {percent(last[key])}, the same epoch")
    if levels:
        details.append(f"Chance {percent(getattr(levels, metric.key))}")
    return Tile(label=label, value=percent(best[key]), details=tuple(details))


def tiles(run: Run) -> list[Tile]:
    """Summarise progress, speed, size and device."""
    per_epoch, seconds, config = steps_per_epoch(run), train_seconds(run), run.train_config
    # Every convolution and linear layer of VGG has one bias per output.
    parameters = sum(math.prod(row["shape"]) + row["shape"][0] for row in run.init)
    machine = run.environment
    device_type = str(machine.get("device_type", NONE))
    return [
        Tile(label="Epochs", value=f"{len(run.evaluations)} / {config.optim.epochs}", details=("finished / planned",)),
        Tile(
            label="Steps",
            value=f"{run.steps[-1]['step'] if run.steps else 0:,}",
            details=(f"{per_epoch:,} an epoch, {config.optim.batch_size} images each",) if per_epoch else (),
        ),
        Tile(label="Images/s", value=number(speed(run), ",.0f"), details=(f"{duration(seconds)} training",) if seconds else ()),
        Tile(
            label="Parameters",
            value=f"{parameters:,}" if parameters else NONE,
            details=(f"{len(run.init)} weight layers",) if run.init else (),
        ),
        Tile(
            label="Device",
            value={"cpu": "CPU", "cuda": "GPU"}.get(device_type, device_type),
            details=(f"{machine.get('device', NONE)}, {config.run.precision}",) if machine else (),
        ),
    ]


def speed(run: Run) -> float | None:
    """Return the training speed in images per second, of the finished call, or else of the last read."""
    if run.result and (ended := finite(run.result.get("images_per_second"))) is not None:
        return ended
    return next((finite(row["images_per_second"]) for row in reversed(run.steps) if "images_per_second" in row), None)


def train_seconds(run: Run) -> float:
    """Sum the training time, without evaluation and saving, over all finished epochs, including those before a resume."""
    return sum(finite(row.get("train_seconds")) or 0 for row in run.evaluations)


def epoch_rows(run: Run) -> list[list[str]]:
    """Make the table of evaluations: the numbers of the figures as text."""
    kinds = [(key, number if key == "loss" else percent) for key in ("loss", "top1_error", "top5_error")]
    return [
        [
            str(row.get("epoch", NONE)),
            f"{row['step']:,}",
            *(write(row.get(f"{part}_{key}")) for key, write in kinds for part in ("train", "val")),
        ]
        for row in run.evaluations
    ]


def init_table(run: Run) -> tuple[list[InitRow], str]:
    """Make the initialisation table.

    Returns:
        Its rows, and the gain budget: the sum of the logarithms of the gains.
    """
    exponents = [log10_gain(row) or 0.0 for row in run.init]
    lowest, highest = min([0, *exponents]), max([0, *exponents])
    width = (highest - lowest) or 1
    rows = [
        InitRow(
            cells=init_cells(row),
            start=100 * (min(exponent, 0) - lowest) / width,
            length=100 * abs(exponent) / width,
        )
        for row, exponent in zip(run.init, exponents, strict=True)
    ]
    budget = init_budget(run.init)
    return rows, "not finite" if budget is None else power(budget)


def settings(run: Run) -> dict[str, list[tuple[str, str]]]:
    """List the configuration by section, each field by the name of its flag."""
    return {
        section: [(flag, written(getattr(getattr(run.train_config, section), name))) for flag, name in names.items()]
        for section, names in configuration.field_flags().items()
    }


def written(value: Any) -> str:
    """Write a value of the configuration."""
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def data_facts(run: Run) -> list[tuple[str, str]]:
    """Describe the data, without class names."""
    if not run.data:
        return []
    data = run.data
    moments = [
        (f"{kind} of the pixels, red, green, blue", ", ".join(number(value, ".1f") for value in data[key]))
        for kind, key in (("Mean", "mean"), ("Standard deviation", "std"))
        if key in data
    ]
    counts = [("Training images", "num_train"), ("Validation images", "num_val")]
    return [
        ("Name", data.get("name", run.train_config.data.name)),
        *((label, f"{data[key]:,}") for label, key in counts if key in data),
        ("Classes", f"{len(data.get('class_names', ())):,}"),
        *moments,
    ]


def machine(run: Run) -> list[tuple[str, str]]:
    """Describe software and hardware."""
    facts = run.environment
    if not facts:
        return []
    packages = [(name, version or "source tree") for name, version in facts.get("packages", {}).items()]
    written = [
        ("Started", str(facts.get("started", NONE)).replace("T", " ").replace("+00:00", " UTC")),
        ("Command", shlex.join(facts.get("command", ()))),
        ("Commit", facts.get("commit") or ("not in a git repository" if run.config is None else "not a source tree")),
        *packages,
        ("Python", facts.get("python")),
        ("Platform", facts.get("platform")),
        ("Device", f"{facts.get('device', NONE)} ({facts.get('device_type', NONE)})"),
        ("Threads", facts.get("num_threads")),
        ("Processes", facts.get("world_size")),
    ]
    return [(name, str(value)) for name, value in written if value not in (None, "")]


def commands(run: Run) -> list[tuple[str, str]]:
    """Return the command that repeats the run, and, if the run has not ended, the one that continues it."""
    folder = run.folder
    recipe, new = shlex.quote(str(folder / "config.toml")), shlex.quote(f"{folder}-again")
    found = [("The same run, into a new directory", f"trainability train --recipe {recipe} --run.dir {new}")]
    if run.result is None or run.result.get("status") == "interrupted":
        found.append(("Continue from the last checkpoint", f"trainability train --resume {shlex.quote(str(folder))}"))
    return found


def evaluate_command(run: Run) -> str:
    """Return the command that saves the predictions for the validation images."""
    return f"trainability evaluate {shlex.quote(str(run.folder))}"
