"""Draw the filters of a run's first convolution as small images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainability.report.thumbnail import data_uri
from trainability.training.checkpoint import load_tensor
from trainability.training.record import Run
from trainability.training.same_run import identity

MOST_FILTERS = 128


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A filter as an image.

    Attributes:
        source: data URI of a PNG with one pixel per weight position.
        description: which filter, and the range of its weights.
    """

    source: str
    description: str


@dataclass(frozen=True, kw_only=True)
class Filters:
    """The filters of the first convolution as images.

    Attributes:
        caption: layer, step, and how the colours are scaled.
        filters: in the order of the output channels; empty if there are none to show.
        missing: why there are none.
    """

    caption: str = ""
    filters: tuple[Filter, ...] = ()
    missing: str | None = None


def first_filters(run: Run) -> Filters:
    """Read the filters from the newest readable checkpoint."""
    first = next((row for row in run.init if len(row.get("shape", ())) == 4), None)
    if first is None:
        return Filters(missing="The first convolution is not recorded (no init.json).")
    try:
        step, weight = load_tensor(run.folder / "checkpoints", f"{first['name']}.weight", identity(run.train_config))
    except ValueError as error:
        return Filters(missing=f"Not drawn: {error}.")
    values = weight.float().numpy()
    if values.ndim != 4 or values.shape[1] not in (1, 3):
        return Filters(missing=f"Not drawn: {first['name']} has {values.shape[1]} input channels, not the colours of an image.")
    shown = values[:MOST_FILTERS]
    size = " × ".join(map(str, shown.shape[2:]))
    few = f"; the first {len(shown)} of {len(values)}" if len(shown) < len(values) else ""
    return Filters(
        caption=f"{first['name']} after step {step:,}: {len(values)} filters of {size}, one tile each{few}. Red, green and blue"
        " of a tile are a filter's weights for these colours; each filter is scaled to its own range, from its smallest weight"
        " (dark) to its largest (bright).",
        filters=tuple(_drawn(number, one) for number, one in enumerate(shown)),
    )


def _drawn(number: int, one: np.ndarray) -> Filter:
    """Draw a filter, (channels, height, width), scaled to its own range."""
    if not np.isfinite(one).all():
        pixels = np.zeros((*one.shape[1:], 3), dtype=np.uint8)
        return Filter(source=data_uri(pixels), description=f"Filter {number}: not finite")
    low, high = float(one.min()), float(one.max())
    scaled = (one - low) / (high - low) if high > low else np.full_like(one, 0.5)
    pixels = np.repeat(scaled, 3 // len(one), axis=0).transpose(1, 2, 0)
    words = f"Filter {number}: weights from {low:.2g} to {high:.2g}"
    return Filter(source=data_uri(np.round(255 * pixels).astype(np.uint8)), description=words)
