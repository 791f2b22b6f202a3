"""A run, or a probe -> the numbers that the book's expectations name."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from trainability.doctor.reading import LEARNED, WINDOW_STEPS
from trainability.doctor.theory.band import BUDGET_HIGH
from trainability.evaluation import predictions
from trainability.evaluation.error_analysis import error_analysis
from trainability.evaluation.predictions import Predictions
from trainability.faults import loss_divisor
from trainability.training.record import Run, read_run

EARLY_STEPS = 200

LOG_CROP = 224
"""Side of the log's crops, in pixels."""

LARGEST_FALL = 0.4
"""Nats by which a first step may lower the loss by (10): all starts with less left chance (docs/theory.md, section 8)."""

SOUND_BLANKS = 0.05
"""Largest fraction of blank training images with which a stay at chance can be predicted."""


class Measured:
    """A run's records, and quantities that several metrics share."""

    def __init__(self, folder: Path) -> None:
        """Read a run directory.

        Raises:
            ValueError: it is not a run directory, or is damaged.
        """
        self.run: Run = read_run(folder)
        self.probe: dict[str, Any] = (self.run.evidence or {}).get("probe") or {}

    @cached_property
    def answers(self) -> Predictions | None:
        """Predictions of the trained network; `None` if the run ended before making them."""
        path = self.run.folder / predictions.FILE
        return predictions.load(path) if path.is_file() else None

    @cached_property
    def losses(self) -> list[float]:
        """Mean cross-entropy of every step up to the first NaN; if the run divided its loss, the division is undone."""
        divisor = loss_divisor(self.run.train_config)
        found = []
        for row in self.run.steps:
            if row["loss"] is None:
                break
            found.append(row["loss"] * divisor)
        return found

    @property
    def chance(self) -> float | None:
        """Loss of guessing, ln C."""
        return math.log(len(self.run.data["class_names"])) if self.run.data else None

    @property
    def left_chance_step(self) -> float | None:
        """First step at which the mean of the last 20 losses is below 0.9 ln C, the level of the plateau formula."""
        chance = self.chance
        if chance is None:
            return None
        for end in range(WINDOW_STEPS, len(self.losses) + 1):
            if statistics.fmean(self.losses[end - WINDOW_STEPS : end]) < LEARNED * chance:
                return float(end)
        return None

    @property
    def constant_accuracy(self) -> float | None:
        """Accuracy on the validation set of always predicting the most frequent class."""
        if self.answers is None:
            return None
        return float(np.bincount(self.answers.labels).max() / len(self.answers))

    def largest_gradient(self, place: int) -> float | None:
        """Largest element of the gradient of the first (0) or last (-1) layer at the start."""
        layers = self.probe.get("layers") or []
        return largest_gradient(layers[place]) if layers else None


def largest_gradient(layer: dict[str, Any]) -> float | None:
    """Largest magnitude among a layer's gradient, from the smallest and largest element."""
    ends = [layer.get("gradient_min"), layer.get("gradient_max")]
    numbers = [abs(float(end)) for end in ends if end is not None]
    return max(numbers) if numbers else None


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number of a run.

    Attributes:
        title: name in tables.
        unit: "%" for a fraction in [0, 1], "steps" for a number of steps, "step" for a position, "nats", or "".
        of: computes it; `None` if the run does not have it.
    """

    title: str
    unit: str
    of: Callable[[Measured], float | None]


def _top1_error(seen: Measured) -> float | None:
    return seen.answers.errors.top1_error if seen.answers is not None else None


def _shown_top1_error(seen: Measured) -> float | None:
    shown = [row["val_top1_error"] for row in seen.run.evaluations if row["val_top1_error"] is not None]
    return min(shown) if shown else None


def _times_constant(seen: Measured) -> float | None:
    error, constant = _top1_error(seen), seen.constant_accuracy
    return (1 - error) / constant if error is not None and constant else None


def _last_over_chance(seen: Measured) -> float | None:
    chance = seen.chance
    if chance is None or len(seen.losses) < WINDOW_STEPS:
        return None
    return statistics.fmean(seen.losses[-WINDOW_STEPS:]) / chance


def _early_swing(seen: Measured) -> float | None:
    """Spread of the loss from its tenth to its ninetieth percentile over the first steps, before it falls, in units of ln C."""
    chance, left = seen.chance, seen.left_chance_step
    falls = left - WINDOW_STEPS if left is not None else math.inf  # the window in which it leaves chance is already the fall
    early = seen.losses[: int(min(EARLY_STEPS, falls, len(seen.losses)))]
    if chance is None or len(early) < WINDOW_STEPS:
        return None
    low, high = np.quantile(early, [0.1, 0.9])
    return float(high - low) / chance


def _nan_step(seen: Measured) -> float | None:
    result = seen.run.result
    return result["step"] + 1.0 if result is not None and result["status"] == "non-finite" else None


def _predicted_classes(seen: Measured) -> float | None:
    return error_analysis(seen.answers).spread.effective_predicted if seen.answers is not None else None


def _two_classes_share(seen: Measured) -> float | None:
    if seen.answers is None:
        return None
    counts = np.bincount(seen.answers.top[:, 0].clip(0), minlength=2)
    return float(np.sort(counts)[-2:].sum() / len(seen.answers))


def _budget(seen: Measured) -> float | None:
    gain, square = seen.probe.get("log10_gain"), seen.probe.get("input_mean_square")
    return gain + math.log10(square) if gain is not None and square else None


def _number(value: Any) -> float | None:
    """Read a number of the evidence's strict JSON, in which infinity is written as text."""
    return None if value is None else float(value)


def _first_fall(seen: Measured) -> float | None:
    """Nats by which the first step would lower the loss if it were linear: learning rate · min(norm, clip) · norm."""
    optim, norm = seen.run.train_config.optim, seen.run.steps[0]["gradient_norm"] if seen.run.steps else None
    if norm is None:
        return None
    return optim.lr * norm * (norm if optim.clip is None else min(norm, optim.clip))


def _blank_fraction(seen: Measured) -> float | None:
    train = ((seen.run.evidence or {}).get("data") or {}).get("train") or {}
    return _number(train.get("blank_fraction"))


def _plateau_steps(seen: Measured) -> float | None:
    """Predicted steps at chance, if the prediction applies to the run.

    It applies to nets that start at chance; above the band, a net starts far above chance. It assumes steps that do not
    overshoot, and images that can be distinguished.
    """
    budget, fall, blanks = _budget(seen), _first_fall(seen), _blank_fraction(seen)
    if budget is None or budget > BUDGET_HIGH or (fall or 0.0) > LARGEST_FALL or (blanks or 0.0) > SOUND_BLANKS:
        return None
    return _number(seen.probe.get("plateau_steps"))


def _last_convolution_rms(seen: Measured) -> float | None:
    layers = seen.probe.get("layers") or []
    sizes = [layer.get("activation_rms") for layer in layers if layer["name"].startswith("features.")]
    return _number(sizes[-1]) if sizes else None


def _largest_gradient_late(seen: Measured) -> float | None:
    """At the log's own size only: gradients depend on the images' size, the classes and the width."""
    data = seen.run.train_config.data
    if not seen.run.layers or data.crop is None or data.crop < LOG_CROP:
        return None
    last = seen.run.layers[-1]["step"]
    ends = [largest_gradient(row) for row in seen.run.layers if row["step"] == last]
    return max((end for end in ends if end is not None), default=None)


def _unclipped_steps(seen: Measured) -> float | None:
    """Number of steps whose gradient norm exceeded the clip threshold and was not clipped."""
    clip = seen.run.train_config.optim.clip
    if clip is None or seen.run.evidence is None:
        return None
    steps = seen.run.evidence.get("steps") or []
    over = [row for row in steps if row.get("gradient_norm") is not None and float(row["gradient_norm"]) > 1.01 * clip]
    return float(sum(float(row["clip_ratio"]) > 0.999 for row in over if row.get("clip_ratio") is not None))


METRICS: dict[str, Metric] = {
    "top1_error": Metric(title="top-1 error", unit="%", of=_top1_error),
    "shown_top1_error": Metric(title="best top-1 error that the run shows", unit="%", of=_shown_top1_error),
    "times_constant": Metric(title="accuracy over that of one constant answer", unit="", of=_times_constant),
    "left_chance_step": Metric(title="leaves chance", unit="step", of=lambda seen: seen.left_chance_step),
    "first_loss": Metric(title="loss at step 1", unit="nats", of=lambda seen: seen.losses[0] if seen.losses else None),
    "shown_first_loss": Metric(
        title="loss that the run shows at step 1",
        unit="nats",
        of=lambda seen: seen.run.steps[0]["loss"] if seen.run.steps else None,
    ),
    "last_over_chance": Metric(title="last training loss over ln C", unit="", of=_last_over_chance),
    "early_swing": Metric(title="swing of the early loss over ln C", unit="", of=_early_swing),
    "nan_step": Metric(title="not finite", unit="step", of=_nan_step),
    "predicted_classes": Metric(title="classes answered, as equally frequent ones", unit="", of=_predicted_classes),
    "two_classes_share": Metric(title="answers that are one of two classes", unit="%", of=_two_classes_share),
    "budget": Metric(title="gain budget with the input", unit="", of=_budget),
    "plateau_steps": Metric(title="predicted steps at chance", unit="steps", of=_plateau_steps),
    "first_gradient": Metric(title="largest gradient of the first layer", unit="", of=lambda seen: seen.largest_gradient(0)),
    "last_gradient": Metric(title="largest gradient of the last layer", unit="", of=lambda seen: seen.largest_gradient(-1)),
    "late_gradient": Metric(title="largest gradient at the end", unit="", of=_largest_gradient_late),
    "last_convolution_rms": Metric(title="rms behind the last convolution at the start", unit="", of=_last_convolution_rms),
    "first_fall": Metric(title="fall that the first step asks for", unit="nats", of=_first_fall),
    "blank_fraction": Metric(title="blank training images", unit="%", of=_blank_fraction),
    "num_steps": Metric(title="steps", unit="steps", of=lambda seen: float(len(seen.run.steps))),
    "unclipped_steps": Metric(title="steps over the clip threshold, not clipped", unit="steps", of=_unclipped_steps),
    "loss_gap": Metric(title="largest difference of the losses", unit="nats", of=lambda seen: None),
}
"""Metrics of a run. `loss_gap` needs the run with which a trial is compared; see `loss_gap`."""

PROBE_METRICS = {
    "first_gradient": "largest gradient of the first layer",
    "last_gradient": "largest gradient of the last layer",
    "weakest_gradient": "largest gradient of the layer where it is smallest",
    "first_loss": "loss at the start",
    "budget": "gain budget with the input",
}
"""Metrics of a plan of a probe trial, written METRIC:LABEL."""


def measure(folder: Path, compared_with: Path | None = None) -> dict[str, float | None]:
    """Compute every metric of a run.

    Args:
        folder: run directory.
        compared_with: directory of the run with which its losses are compared.

    Raises:
        ValueError: a directory is not a run directory, or is damaged.
    """
    seen = Measured(folder)
    found = {name: metric.of(seen) for name, metric in METRICS.items()}
    if compared_with is not None and (compared_with / "config.toml").is_file():
        found["loss_gap"] = loss_gap(seen, Measured(compared_with))
    return found


def loss_gap(one: Measured, other: Measured) -> float | None:
    """Largest difference between two runs' losses, step by step."""
    pairs = list(zip(one.losses, other.losses, strict=False))
    return max(abs(a - b) for a, b in pairs) if pairs else None


def measure_probe(diagnosis: dict[str, Any]) -> dict[str, float | None]:
    """Compute every metric of a probed start.

    Args:
        diagnosis: as `Diagnosis.to_dict` gives it.
    """
    probe = diagnosis["evidence"]["probe"]
    sizes = [size for layer in probe["layers"] if (size := largest_gradient(layer)) is not None]
    gain, square = probe.get("log10_gain"), probe.get("input_mean_square")
    return {
        "first_gradient": sizes[0],
        "last_gradient": sizes[-1],
        "weakest_gradient": min(sizes),
        "first_loss": _number(probe.get("loss")),
        "budget": gain + math.log10(square) if gain is not None and square else None,
    }
