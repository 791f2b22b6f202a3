"""A trial at a scale -> the configuration of a run, and what it costs. No torch.

Pocket keeps what matters to a trial: depth, classifier, classes and their imbalance, gain budget. It reduces size: 32 pixels, a
quarter of the width, generated images or handwritten digits, hundreds of steps. Desk uses the real set instead.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trainability.config import SECTIONS, RunConfig, field_flags
from trainability.trials.trial import Trial, Value, Variant

Scale = Literal["pocket", "desk", "real", "full"]
SCALES: tuple[Scale, ...] = ("pocket", "desk", "real", "full")

PERIOD = "2014-09"
"""The log's own rule: only techniques known before the VGG paper."""

CONSTANT: dict[str, Value] = {
    "optim.lr": Value(value=0.01, source="the log", note="the paper's"),
    "optim.momentum": Value(value=0.9, source="paper"),
    "optim.weight-decay": Value(value=5e-4, source="paper"),
    "optim.batch-size": Value(value=256, source="paper"),
    "optim.micro-batch-size": Value(value=64, source="its code", note="four add up to a batch"),
    "optim.schedule": Value(value="plateau", source="paper"),
    "optim.plateau-metric": Value(value="top5", source="its code"),
    "optim.patience-epochs": Value(value=11, source="its code", note="torch's patience of 10 drops at the eleventh"),
    "optim.plateau-threshold": Value(
        value=1e-4, source="our choice", note="torch's default; the code's is known for 2 May only"
    ),
    "model.dropout": Value(value=0.5, source="paper"),
    "data.input": Value(value="standard", source="its code", note="unit variance; the paper subtracts the mean only"),
    "run.period": Value(value=PERIOD, source="the log"),
}
"""Settings of the whole log, unless a trial says otherwise."""


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """The stand-in for a data set of the log at pocket scale, and what it keeps of the set.

    Attributes:
        data: fields of `DataConfig`, by flag.
        num_train: number of training images.
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
        kept="depth and gain budget only, with 10 classes in place of 1,000",
    ),
}

POCKET_WIDTH = 0.25
POCKET_BATCH = 32
DESK_BATCH = 64
REAL_EPOCHS, FULL_EPOCHS = 60, 74


@dataclass(frozen=True, kw_only=True)
class DeskSet:
    """A real set that two cores can train on, at a quarter of the width and 32 pixels.

    Attributes:
        num_train: training images.
        num_val: validation images.
        epochs: of every run on it.
    """

    num_train: int
    num_val: int
    epochs: int


DESK_SETS: dict[str, DeskSet] = {
    "mnist": DeskSet(num_train=60_000, num_val=10_000, epochs=4),
    "cifar10": DeskSet(num_train=50_000, num_val=10_000, epochs=5),
}


def configure(
    trial: Trial,
    scale: Scale,
    variant: Variant,
    seed: int,
    *,
    places: Mapping[str, Path] | None = None,
    plan: str | None = None,
) -> RunConfig:
    """Make the configuration of a trial's run.

    Args:
        trial: of the book.
        scale: pocket; desk: the real sets at 32 pixels, a quarter of the width; real: the real sets at 32 pixels, the paper's
            width; full: rescaled to 256, cropped to 224.
        variant: as the code ran it, as the text describes it, or as the code ran it without its bugs.
        seed: of the run.
        places: data set -> its location; a set without a location is fetched from the Hub.
        plan: used instead of the trial's own.

    Returns:
        Complete except for the run directory.
    """
    values = {flag: value.value for flag, value in {**CONSTANT, **trial.settings}.items()}
    if variant == "as-run":
        values |= {flag: value.value for flag, value in (trial.as_run or {}).items()}
        values["run.faults"] = trial.faults
    if variant == "as-told":
        values |= {flag: value.value for flag, value in (trial.as_told or {}).items()}
    if plan is not None:
        values["init.plan"] = plan
    values |= {
        "run.seed": seed,
        # Sampled often enough to see a gradient that fades or grows within a few hundred steps.
        "run.monitor-every-steps": 50,
        **_SIZES[scale](trial, values, places or {}),
    }
    return _config(values)


def _pocket(trial: Trial, values: dict[str, Any], places: Mapping[str, Path]) -> dict[str, Any]:
    stand_in = STAND_INS[trial.data]
    per_epoch = -(-stand_in.num_train // POCKET_BATCH)
    return {
        **{f"data.{flag}": value for flag, value in stand_in.data.items()},
        **_small(values, POCKET_BATCH),
        "optim.epochs": max(trial.sessions, round(trial.steps / per_epoch)),
    }


def _desk(trial: Trial, values: dict[str, Any], places: Mapping[str, Path]) -> dict[str, Any]:
    return {**_source(trial, places), **_small(values, DESK_BATCH), "optim.epochs": DESK_SETS[trial.data].epochs}


def _small(values: dict[str, Any], batch_size: int) -> dict[str, Any]:
    """Return the settings that are reduced for two cores."""
    return {
        "data.crop": 32,
        "model.width": POCKET_WIDTH,
        "init.plan": at_width(values["init.plan"], POCKET_WIDTH),
        # The whole batch at once: accumulation costs time here, and its bugs show without it.
        "optim.batch-size": batch_size,
        "optim.micro-batch-size": None,
        # No drop: with the patience of full scale, none would occur within a few epochs.
        "optim.patience-epochs": 1000,
        "run.device": "cpu",
    }


def _real(trial: Trial, values: dict[str, Any], places: Mapping[str, Path]) -> dict[str, Any]:
    return {**_source(trial, places), "data.crop": 32, "model.width": 1.0, "optim.epochs": REAL_EPOCHS}


def _full(trial: Trial, values: dict[str, Any], places: Mapping[str, Path]) -> dict[str, Any]:
    sizes = {"data.size": 256, "data.crop": 224, "model.width": 1.0, "optim.epochs": FULL_EPOCHS}
    return {**_source(trial, places), **sizes}


_SIZES = {"pocket": _pocket, "desk": _desk, "real": _real, "full": _full}


def _source(trial: Trial, places: Mapping[str, Path]) -> dict[str, Any]:
    found: dict[str, Any] = {"data.name": trial.data}
    if trial.data in places:
        found["data.path"] = places[trial.data]
    return found


PHOTOGRAPHS = "imagenet-1000"
"""Folder of photographs, a few of each class, for the probes; `imagenet` can be used, too."""


def scales_of(trial: Trial, scale: Scale | None, places: Mapping[str, Path]) -> tuple[Scale, ...]:
    """Return the scales at which a trial's runs are made.

    Args:
        trial: one that trains.
        scale: the requested one; `None` takes pocket, and desk if the real set is available.
        places: data set -> its location.
    """
    if scale is None:
        return ("pocket", "desk") if trial.data in DESK_SETS and trial.data in places else ("pocket",)
    return () if scale == "desk" and trial.data not in DESK_SETS else (scale,)


def find_places(root: Path | None, named: Sequence[str]) -> dict[str, Path]:
    """Find the locations of data sets.

    Args:
        root: folder with some of mnist, cifar10, caltech256, imagenet-1000 and so on.
        named: "NAME=PATH" of sets in other places.

    Raises:
        ValueError: a location does not exist, or is not written in this form.
    """
    known = (*STAND_INS, PHOTOGRAPHS)
    if root is not None and not root.is_dir():
        raise ValueError(f"--data-root {root}: no such folder")
    found = {name: root / name for name in known if root is not None and (root / name).exists()}
    for text in named:
        name, is_written, path = text.partition("=")
        if not is_written or name not in known:
            raise ValueError(
                f"--data-path {text}: expected NAME=PATH, with NAME one of {', '.join(known)}; --data-root is for a "
                f"folder of all"
            )
        if not Path(path).exists():
            raise ValueError(f"--data-path {text}: there is no {path}")
        found[name] = Path(path)
    if root is not None and not found:
        raise ValueError(f"--data-root {root}: it holds none of {', '.join(known)}")
    return found


def at_width(plan: str, width: float) -> str:
    """Rewrite a plan so that every layer keeps its gain when all channel counts are multiplied.

    The gain of N(0, σ) is fan_in · σ² / 2, so σ grows as 1 / sqrt(width); schemes that depend on the fans keep their gain.

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
