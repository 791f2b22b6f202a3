"""What others got, for a run's errors to be seen beside (`--against`)."""

from __future__ import annotations

from dataclasses import dataclass

from trainability.evaluation.reference import TORCHVISION, Against, Published, beside
from trainability.training.record import Run


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One result of others, comparable with a run's errors after every epoch.

    Attributes:
        label: short, for a figure.
        top1_error: in [0, 1]; `None` where it was not published.
        top5_error: likewise.
        source: in words: who, and how it was measured.
    """

    label: str
    top1_error: float | None
    top5_error: float | None
    source: str


def reference_for(run: Run, against: Against) -> Reference:
    """Find the result of others that is most like what the run measures: one crop, at the size that it trains on.

    Raises:
        ValueError: there is none, for the reason that the message gives.
    """
    config = run.config.completed()
    data = config.data
    rows = beside((config.model.config,), data_name=data.name, protocol="centre", scales=(data.size or 0,), against=against)
    if config.model.width != 1:
        raise ValueError(f"against {against}: its errors are of the full width; this run has model.width {config.model.width}")
    trained = "-".join(map(str, data.jitter)) if data.jitter else str(data.size)
    # `beside` has the same protocol first; of equals, who trained at the same scale, and the paper before others.
    best = min(rows, key=lambda row: (row.source == TORCHVISION, row.protocol != "centre", row.train != trained))
    return Reference(label=against, top1_error=best.top1_error, top5_error=best.top5_error, source=_in_words(best))


def _in_words(row: Published) -> str:
    sides = ", ".join(map(str, row.test))
    return f"VGG-{row.config}, trained at {row.train}, {row.protocol} at {sides}: {row.source}"
