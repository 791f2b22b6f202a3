"""Published errors on ImageNet's validation set, to compare with a run's (`--against paper` or `log`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PAPER = "Simonyan & Zisserman 2014"
RELEASED = "the paper's released weights"
TORCHVISION = "torchvision's own training"
LOG = "the public training log, after 10 epochs"

Against = Literal["paper", "log"]


@dataclass(frozen=True)
class Published:
    """A published error.

    Attributes:
        config: configuration, or several joined by "+" for an ensemble.
        train: smaller side of the training images, "256", a range, "256-512", or how else they were cut.
        test: smaller sides of the test images.
        protocol: as `protocols.parse_protocol` reads it.
        top1_error: in [0, 1]; `None` if it was not published.
        top5_error: as `top1_error`.
        source: who, and where.
    """

    config: str
    train: str
    test: tuple[int, ...]
    protocol: str
    top1_error: float | None
    top5_error: float
    source: str


def _row(config: str, train: str, test: tuple[int, ...], protocol: str, errors: str, source: str) -> Published:
    """Parse errors in percent as papers print them: "25.6 / 8.1"."""
    first, second = (None if part.strip() == "-" else round(float(part) / 100, 6) for part in errors.split("/"))
    assert second is not None
    return Published(config, train, test, protocol, first, second, source)


_JITTER, _THREE = "256-512", (256, 384, 512)

_SINGLE_SCALE = {
    ("A", "256"): "29.6 / 10.4",
    ("A-LRN", "256"): "29.7 / 10.5",
    ("B", "256"): "28.7 / 9.9",
    ("C", "256"): "28.1 / 9.4",
    ("C", "384"): "28.1 / 9.3",
    ("C", _JITTER): "27.3 / 8.8",
    ("D", "256"): "27.0 / 8.8",
    ("D", "384"): "26.8 / 8.7",
    ("D", _JITTER): "25.6 / 8.1",
    ("E", "256"): "27.3 / 9.0",
    ("E", "384"): "26.9 / 8.7",
    ("E", _JITTER): "25.5 / 8.0",
}
"""Table 3: dense at Q = S, or 384 for jittered nets."""

_SEVERAL_SCALES = {
    ("B", "256"): "28.2 / 9.6",
    ("C", "256"): "27.7 / 9.2",
    ("C", "384"): "27.8 / 9.2",
    ("C", _JITTER): "26.3 / 8.2",
    ("D", "256"): "26.6 / 8.6",
    ("D", "384"): "26.5 / 8.6",
    ("D", _JITTER): "24.8 / 7.5",
    ("E", "256"): "26.9 / 8.7",
    ("E", "384"): "26.7 / 8.6",
    ("E", _JITTER): "24.8 / 7.5",
}
"""Table 4: dense at S - 32, S and S + 32, or 256, 384 and 512 for jittered nets."""

_CROPS = {
    ("D", "multi-crop"): "24.6 / 7.5",
    ("D", "dense+multi-crop"): "24.4 / 7.2",
    ("E", "multi-crop"): "24.6 / 7.4",
    ("E", "dense+multi-crop"): "24.4 / 7.1",
}
"""Table 5, jittered nets at three scales; its dense rows are those of Table 4."""

_FUSED = {"dense": "24.0 / 7.1", "multi-crop": "23.9 / 7.2", "dense+multi-crop": "23.7 / 6.8"}
"""Table 6, the jittered D and E averaged, at three scales."""


def _scales(train: str, *, several: bool) -> tuple[int, ...]:
    if train == _JITTER:
        return _THREE if several else (384,)
    return (int(train) - 32, int(train), int(train) + 32) if several else (int(train),)


PUBLISHED = (
    *(_row(c, s, _scales(s, several=False), "dense", e, f"{PAPER}, Table 3") for (c, s), e in _SINGLE_SCALE.items()),
    *(_row(c, s, _scales(s, several=True), "dense", e, f"{PAPER}, Table 4") for (c, s), e in _SEVERAL_SCALES.items()),
    *(_row(c, _JITTER, _THREE, p, e, f"{PAPER}, Table 5") for (c, p), e in _CROPS.items()),
    *(_row("D+E", _JITTER, _THREE, p, e, f"{PAPER}, Table 6") for p, e in _FUSED.items()),
    _row("D", _JITTER, (256,), "centre", "28.73 / 9.95", RELEASED),
    _row("D", _JITTER, (256,), "ten-crop", "- / 8.83", RELEASED),
    _row("E", _JITTER, (256,), "centre", "28.74 / 10.01", RELEASED),
    _row("E", _JITTER, (256,), "ten-crop", "- / 8.77", RELEASED),
    _row("A", "resized crops", (256,), "centre", "30.98 / 11.37", TORCHVISION),
    _row("B", "resized crops", (256,), "centre", "30.07 / 10.75", TORCHVISION),
    _row("D", "resized crops", (256,), "centre", "28.41 / 9.62", TORCHVISION),
    _row("E", "resized crops", (256,), "centre", "27.62 / 9.12", TORCHVISION),
)

OF_THE_LOG = tuple(
    _row(config, "256", (256,), "centre", errors, LOG)
    for config, errors in {
        "A": "57.48 / 30.84",
        "B": "59.17 / 32.00",
        "C": "60.00 / 33.25",
        "D": "58.39 / 31.39",
        "E": "60.75 / 33.63",
    }.items()
)


def comparable_errors(
    configs: tuple[str, ...], *, data_name: str, protocol: str, scales: tuple[int, ...], against: Against = "paper"
) -> list[Published]:
    """Find the published errors of the same network or ensemble, the most comparable first.

    Args:
        configs: of the runs.
        data_name: their data set.
        protocol: of the evaluation.
        scales: smaller sides of the test images.
        against: "paper" for the paper and other published weights, or "log" for the public training log that
            `trainability trials` re-runs.

    Returns:
        Rows of the same configuration: those of the same protocol and scales first, then of the protocol, then the others.

    Raises:
        ValueError: the data set is not ImageNet, or nothing was published for the configuration.
    """
    if data_name != "imagenet":
        raise ValueError(f"against {against}: its errors are ImageNet's; this run was trained on {data_name}")
    name = "+".join(sorted(set(configs)))
    known = PUBLISHED if against == "paper" else OF_THE_LOG
    rows = [row for row in known if row.config == name]
    if not rows:
        names = ", ".join(dict.fromkeys(row.config for row in known))
        raise ValueError(f"against {against}: nothing was published for {name}; there is for {names}")
    return sorted(rows, key=lambda row: (row.protocol != protocol, row.test != scales))
