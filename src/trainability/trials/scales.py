"""A trial at a scale -> the configuration of a run. No torch.

Pocket keeps what a trial is about: depth, classifier, classes and their imbalance, gain budget. It gives up size: 32 pixels, a
quarter of the width, generated images or handwritten digits, steps counted in hundreds.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trainability.config import SECTIONS, RunConfig, field_flags
from trainability.trials.trial import Trial, Value, Variant

Scale = Literal["pocket", "real", "full"]
SCALES: tuple[Scale, ...] = ("pocket", "real", "full")

PERIOD = "2014-09"
"""The seed's own rule: only techniques known before the VGG paper."""

CONSTANT: dict[str, Value] = {
    "optim.lr": Value(value=0.01, source="seed", note="the paper's"),
    "optim.momentum": Value(value=0.9, source="paper"),
    "optim.weight-decay": Value(value=5e-4, source="paper"),
    "optim.schedule": Value(value="plateau", source="paper"),
    "model.dropout": Value(value=0.5, source="paper"),
    "data.input": Value(value="standard", source="public code", note="unit variance; the paper subtracts the mean only"),
    "run.period": Value(value=PERIOD, source="seed"),
}
"""Through the seed unless a trial says otherwise."""


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """What a data set of the seed is at pocket scale, and what is kept of it.

    Attributes:
        data: fields of `DataConfig`, by flag.
        num_train: training images that it has.
        kept: what it shares with the real set, in words.
    """

    data: dict[str, Any]
    num_train: int
    kept: str


def _generated(num_classes: int, num_images: int, *, groups: int | None = None, imbalance: float = 1.0) -> dict[str, Any]:
    sizes = {"num-classes": num_classes, "num-images": num_images, "groups": groups, "imbalance": imbalance}
    return {"name": "synthetic", **sizes}


STAND_INS: dict[str, StandIn] = {
    # Caltech-256 has 80 to 827 images a class.
    "caltech256": StandIn(
        data=_generated(257, 5140, groups=10, imbalance=10.0),
        num_train=4112,
        kept="257 classes, ten to one in size, in ten groups that look alike",
    ),
    "cifar100": StandIn(
        data=_generated(100, 4000, groups=20),
        num_train=3200,
        kept="100 classes of equal size, in twenty groups that look alike",
    ),
    "cifar10": StandIn(data=_generated(10, 2000), num_train=1600, kept="10 classes of equal size"),
    "mnist": StandIn(data={"name": "digits"}, num_train=1438, kept="handwritten digits, 10 classes"),
    "imagenet": StandIn(
        data={"name": "digits"},
        num_train=1438,
        kept="depth and gain budget only: handwritten digits, 10 classes in place of 1,000",
    ),
}

POCKET_WIDTH = 0.25
POCKET_BATCH = 32
REAL_EPOCHS, FULL_EPOCHS = 60, 74


def configure(
    trial: Trial,
    scale: Scale,
    variant: Variant,
    seed: int,
    *,
    data_path: Path | None = None,
    plan: str | None = None,
) -> RunConfig:
    """Make the configuration of a trial's run.

    Args:
        trial: of the book.
        scale: pocket; real: the real sets at 32 pixels, the paper's width; full: rescaled to 256, cropped to 224.
        variant: with the faults of the published run, or without.
        seed: of the run.
        data_path: folder that holds caltech256/, imagenet/ and so on; without one, sets are fetched from the Hub.
        plan: in place of the trial's own.

    Returns:
        Complete but for its run directory.
    """
    values = {flag: value.value for flag, value in {**CONSTANT, **trial.settings}.items()}
    if variant == "as-published":
        values |= {flag: value.value for flag, value in (trial.published or {}).items()}
        values["run.faults"] = trial.faults
    if plan is not None:
        values["init.plan"] = plan
    values |= {
        "run.seed": seed,
        # Looked at often enough that a gradient that fades or grows within a few hundred steps is seen.
        "run.monitor-every-steps": 50,
        **_SIZES[scale](trial, values, data_path),
    }
    return _config(values)


def _pocket(trial: Trial, values: dict[str, Any], data_path: Path | None) -> dict[str, Any]:
    stand_in = STAND_INS[trial.data]
    per_epoch = -(-stand_in.num_train // POCKET_BATCH)
    return {
        **{f"data.{flag}": value for flag, value in stand_in.data.items()},
        "data.crop": 32,
        "model.width": POCKET_WIDTH,
        "init.plan": at_width(values["init.plan"], POCKET_WIDTH),
        # At once: accumulation costs time here, and the bugs in it show without it.
        "optim.batch-size": POCKET_BATCH,
        "optim.epochs": max(trial.sessions, round(trial.steps / per_epoch)),
        # A few dozen steps an epoch: waited for as at full scale, the rate would be gone before the net leaves chance.
        "optim.patience-epochs": 1000,
        "run.device": "cpu",
    }


def _real(trial: Trial, values: dict[str, Any], data_path: Path | None) -> dict[str, Any]:
    return {
        **_source(trial, data_path),
        "data.crop": 32,
        "model.width": 1.0,
        "optim.batch-size": 256,
        "optim.micro-batch-size": 128,
        "optim.epochs": REAL_EPOCHS,
        "optim.patience-epochs": 5,
    }


def _full(trial: Trial, values: dict[str, Any], data_path: Path | None) -> dict[str, Any]:
    return {
        **_source(trial, data_path),
        "data.size": 256,
        "data.crop": 224,
        "model.width": 1.0,
        "optim.batch-size": 256,
        "optim.micro-batch-size": 128,
        "optim.epochs": FULL_EPOCHS,
        "optim.patience-epochs": 5,
    }


_SIZES = {"pocket": _pocket, "real": _real, "full": _full}


def _source(trial: Trial, data_path: Path | None) -> dict[str, Any]:
    found: dict[str, Any] = {"data.name": trial.data}
    if data_path is not None and (data_path / trial.data).exists():
        found["data.path"] = data_path / trial.data
    return found


def at_width(plan: str, width: float) -> str:
    """Rewrite a plan so that every layer keeps its gain when all channel counts are multiplied.

    The gain of N(0, σ) is fan_in · σ² / 2, so σ grows as 1 / sqrt(width); schemes that go by the fans keep theirs as they are.

    Args:
        plan: as for `--init.plan`, for width 1.
        width: as `model.width`.
    """

    def rescaled(match: re.Match[str]) -> str:
        return f"{match[1]}={float(match[2]) / width**0.5:.6g}"

    return re.sub(r"(normal|uniform)=([0-9.e+-]+)", rescaled, plan)


def _config(values: dict[str, Any]) -> RunConfig:
    flags = field_flags()
    parts: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for flag, value in values.items():
        section, name = flag.split(".")
        parts[section][flags[section][name]] = value
    return RunConfig(**{section: SECTIONS[section](**given) for section, given in parts.items()}).completed()


def in_sessions(config: RunConfig, num_sessions: int) -> list[RunConfig]:
    """Split a run's epochs over sessions: the configuration of each call, the last one the whole run's."""
    total = config.optim.epochs
    ends = [round(total * number / num_sessions) for number in range(1, num_sessions + 1)]
    return [dataclasses.replace(config, optim=dataclasses.replace(config.optim, epochs=end)) for end in ends]
