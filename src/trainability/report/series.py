"""Records of a run -> series of numbers, with gaps where a record has no finite number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from trainability.data.loader import num_steps
from trainability.evaluation.metrics import Errors, chance
from trainability.training.record import Run

MAX_POINTS = 2000


def finite(value: Any, scale: float = 1) -> float | None:
    """Return a record's number times the scale, or `None` where the record has none or it is not finite."""
    return float(value) * scale if isinstance(value, (int, float)) and math.isfinite(value) else None


def downsample(
    xs: Sequence[float], ys: Sequence[float | None], max_points: int = MAX_POINTS
) -> tuple[list[float], list[float | None]]:
    """Thin a curve out bucket by bucket, so that no peak and no dip of it is lost.

    Args:
        xs: ascending.
        ys: as many; `None` where the curve has a gap.
        max_points: a curve of at most so many is returned as it is.

    Returns:
        Of every bucket its first minimum, its first maximum and its first gap, in order, and the curve's two ends.
    """
    if len(xs) <= max_points:
        return list(xs), list(ys)
    num_buckets = max_points // 2 - 1
    kept = {0, len(xs) - 1}
    for bucket in range(num_buckets):
        indices = range(bucket * len(xs) // num_buckets, (bucket + 1) * len(xs) // num_buckets)
        present = [(y, i) for i in indices if (y := ys[i]) is not None]
        if present:
            kept.add(min(present)[1])
            kept.add(max(present, key=lambda pair: (pair[0], -pair[1]))[1])
        if len(present) < len(indices):
            kept.add(next(i for i in indices if ys[i] is None))
    return [xs[i] for i in sorted(kept)], [ys[i] for i in sorted(kept)]


def chance_levels(run: Run) -> Errors | None:
    """Say what guessing scores on the run's classes; `None` while the run has not said how many there are."""
    return chance(len(run.data["class_names"])) if run.data else None


def steps_per_epoch(run: Run) -> int | None:
    """Count the steps of an epoch; `None` while the run has said neither how many images there are nor finished one."""
    if run.data:
        return num_steps(run.data["num_train"], run.config.optim.batch_size)
    return run.evaluations[0]["step"] // run.evaluations[0]["epoch"] if run.evaluations else None


def first_nonfinite_step(run: Run) -> int | None:
    """Find the first step whose loss or gradient norm was NaN or infinite."""
    return next((row["step"] for row in run.steps if finite(row["loss"]) is None or finite(row["grad_norm"]) is None), None)


def positions(run: Run) -> list[float]:
    """Place every step on the epoch axis; on an axis of steps while the length of an epoch is unknown."""
    per_epoch = steps_per_epoch(run) or 1
    return [row["step"] / per_epoch for row in run.steps]


def epoch_means(run: Run, values: Sequence[float | None]) -> tuple[list[float], list[float | None]]:
    """Average the finite values of each epoch, at the middle of the steps that it has so far."""
    groups: dict[int, list[tuple[float, float]]] = {}
    for row, x, value in zip(run.steps, positions(run), values, strict=True):
        if value is not None:
            groups.setdefault(row["epoch"], []).append((x, value))
    return [fmean(x for x, _ in group) for group in groups.values()], [fmean(y for _, y in group) for group in groups.values()]


def spans_decades(values: Iterable[float | None], ratio: float = 100) -> bool:
    """Tell whether the positive values differ by at least this ratio, so that a logarithmic axis shows more of them."""
    positive = [value for value in values if value is not None and value > 0]
    return bool(positive) and max(positive) / min(positive) >= ratio
