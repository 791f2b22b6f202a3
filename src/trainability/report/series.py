"""Extract series of numbers from a run's records, with gaps if a record has no finite number.

A field that an older version did not record is a gap too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from trainability.data.loader import num_steps
from trainability.evaluation.metrics import Errors, chance
from trainability.formats import finite
from trainability.training.record import Run

MAX_POINTS = 2000

Series = tuple[list[float], list[float | None]]


def column(rows: Sequence[dict[str, Any]], key: str, scale: float = 1) -> list[float | None]:
    """Read a field of every row, times the scale."""
    return [finite(row.get(key), scale) for row in rows]


def recorded(rows: Sequence[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Return the rows that have a field. A monitor does not measure everything at every step; null: not finite."""
    return [row for row in rows if key in row]


def rounded(values: Iterable[float | None]) -> list[float | None]:
    """Round to five significant digits, more than a figure shows, which halves the size of large pages."""
    return [None if value is None else float(f"{value:.5g}") for value in values]


def downsample(xs: Sequence[float], ys: Sequence[float | None], max_points: int = MAX_POINTS) -> Series:
    """Reduce a curve bucket by bucket, keeping every peak and dip.

    Args:
        xs: ascending.
        ys: as many; `None` is a gap.
        max_points: shorter curves are returned unchanged.

    Returns:
        The first minimum, maximum and gap of every bucket, in order, and both ends of the curve.
    """
    if len(xs) <= max_points:
        return list(xs), list(ys)
    kept = {0, len(xs) - 1}
    for indices in _buckets(len(xs), max_points // 2 - 1):
        present = [(y, i) for i in indices if (y := ys[i]) is not None]
        if present:
            kept.add(min(present)[1])
            kept.add(max(present, key=lambda pair: (pair[0], -pair[1]))[1])
        if len(present) < len(indices):
            kept.add(next(i for i in indices if ys[i] is None))
    return [xs[i] for i in sorted(kept)], [ys[i] for i in sorted(kept)]


def bucket_means(xs: Sequence[float], ys: Sequence[float | None], max_points: int = MAX_POINTS) -> Series:
    """Average a curve bucket by bucket, for smoothing; the extremes that `downsample` keeps would bias it.

    Args:
        xs: ascending.
        ys: as many; `None` is a gap.
        max_points: shorter curves are returned unchanged.
    """
    if len(xs) <= max_points:
        return list(xs), list(ys)
    means: Series = ([], [])
    for indices in _buckets(len(xs), max_points // 2):
        present = [y for i in indices if (y := ys[i]) is not None]
        means[0].append(fmean(xs[i] for i in indices))
        means[1].append(fmean(present) if present else None)
    return means


def _buckets(num: int, num_buckets: int) -> list[range]:
    return [range(bucket * num // num_buckets, (bucket + 1) * num // num_buckets) for bucket in range(num_buckets)]


def evenly(num: int, most: int) -> list[int]:
    """Choose at most so many of `num` positions, evenly spaced, including the first and the last."""
    if num <= most:
        return list(range(num))
    return [round(place * (num - 1) / (most - 1)) for place in range(most)]


def chance_levels(run: Run) -> Errors | None:
    """Return the metrics of guessing on the run's classes; `None` if their number is not recorded yet."""
    num = num_classes(run)
    return chance(num) if num else None


def num_classes(run: Run) -> int | None:
    """Return the number of classes, if it is recorded."""
    names = run.data.get("class_names")
    return len(names) if names else run.loop.get("num_classes")


def steps_per_epoch(run: Run) -> int | None:
    """Count the steps of an epoch; `None` if the number of images is not recorded and no epoch is finished."""
    if run.data.get("num_train") and run.config is not None:
        return num_steps(run.data["num_train"], run.config.optim.batch_size)
    if run.evaluations and run.evaluations[0].get("epoch"):
        return run.evaluations[0]["step"] // run.evaluations[0]["epoch"] or None
    return None


def first_nonfinite_step(run: Run) -> int | None:
    """Find the first step whose loss or gradient norm was NaN or infinite."""
    for row in run.steps:
        loss, norm = row.get("loss", 0.0), row.get("gradient_norm", 0.0)  # an unrecorded field counts as finite
        if loss is None or norm is None or not (math.isfinite(loss) and math.isfinite(norm)):
            return row["step"]
    return None


def positions(rows: Sequence[dict[str, Any]]) -> list[float]:
    """Return the steps of rows."""
    return [row["step"] for row in rows]


def epoch_middles(run: Run) -> list[float]:
    """Return the middle step of every finished epoch: the weights change during an epoch, so its mean belongs there."""
    half = (steps_per_epoch(run) or 0) / 2
    return [row["step"] - half for row in run.evaluations]


def epoch_means(rows: Sequence[dict[str, Any]], values: Sequence[float | None]) -> Series:
    """Average the finite values of each epoch, one for each row, at the middle of its recorded steps."""
    groups: dict[int, list[tuple[float, float]]] = {}
    for row, value in zip(rows, values, strict=True):
        if value is not None and "epoch" in row:
            groups.setdefault(row["epoch"], []).append((row["step"], value))
    return [fmean(x for x, _ in group) for group in groups.values()], [fmean(y for _, y in group) for group in groups.values()]


def spans_decades(values: Iterable[float | None], ratio: float = 100) -> bool:
    """Whether the positive values differ by at least this ratio, so that a log axis shows more."""
    positive = [value for value in values if value is not None and value > 0]
    return bool(positive) and max(positive) / min(positive) >= ratio
