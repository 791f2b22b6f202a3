"""Published errors to compare with those of a run (`--against`)."""

from __future__ import annotations

from dataclasses import dataclass

from trainability.evaluation.reference import TORCHVISION, Against, Published, comparable_errors
from trainability.training.record import Run


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A published error that is comparable with a run's errors after every epoch.

    Attributes:
        label: short, for figures.
        top1_error: in [0, 1]; `None` if it was not published.
        top5_error: as `top1_error`.
        source: who, and how it was measured, in words.
    """

    label: str
    top1_error: float | None
    top5_error: float | None
    source: str


def reference_for(run: Run, against: Against) -> Reference:
    """Find the published error that is most comparable with the run's validation: one crop, at the training size.

    Raises:
        ValueError: there is none; the message says why.
    """
    config = run.train_config.completed()
    data = config.data
    rows = comparable_errors(
        (config.model.config,), data_name=data.name, protocol="centre", scales=(data.size or 0,), against=against
    )
    if config.model.width != 1:
        raise ValueError(f"against {against}: its errors are of the full width; this run has model.width {config.model.width}")
    trained = "-".join(map(str, data.jitter)) if data.jitter else str(data.size)
    # `comparable_errors` puts the same protocol first. Among equals: first the same training scale, then the paper.
    best = min(rows, key=lambda row: (row.source == TORCHVISION, row.protocol != "centre", row.train != trained))
    return Reference(label=against, top1_error=best.top1_error, top5_error=best.top5_error, source=_in_words(best))


def _in_words(row: Published) -> str:
    sides = ", ".join(map(str, row.test))
    return f"VGG-{row.config}, trained at {row.train}, {row.protocol} at {sides}: {row.source}"
