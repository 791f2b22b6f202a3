"""Write scalars and histograms to TensorBoard or wandb too. Each is an extra; JSON lines are always written."""

from __future__ import annotations

import itertools
import uuid
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from trainability.doctor.layer_stats import LogHistogram


class Sink(Protocol):
    """Receives the measurements of a run."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Record named numbers of a step."""
        ...

    def histogram(self, step: int, name: str, shares: LogHistogram) -> None:
        """Record a tensor's histogram: fractions of elements by magnitude."""
        ...

    def text(self, step: int, name: str, text: str, *, is_alert: bool) -> None:
        """Record a finding; `is_alert`: it is worse than a hint, so a sink that can send alerts sends one."""
        ...

    def close(self) -> None:
        """Write everything that is buffered, and close."""
        ...


def _occupied(histogram: LogHistogram) -> tuple[list[float], list[float]]:
    """Cut empty bins off both ends. Returns fractions and one more bin edge; zeros are in a bin that starts at 0."""
    shares = [histogram.zero_fraction, *histogram.fractions]
    lowest = histogram.lowest_exponent
    edges = [0.0, *(2.0**exponent for exponent in range(lowest, lowest + len(shares)))]
    used = [place for place, share in enumerate(shares) if share] or [0]
    return shares[used[0] : used[-1] + 1], edges[used[0] : used[-1] + 2]


class TensorBoardSink:
    """Writes event files below the run directory: `tensorboard --logdir RUN`."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Open the event file of a run directory."""
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / "tensorboard"))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Record named numbers of a step."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def histogram(self, step: int, name: str, shares: LogHistogram) -> None:
        """Record a tensor's histogram: fractions of elements by magnitude."""
        occupied, edges = _occupied(shares)
        centres = [(low + high) / 2 for low, high in itertools.pairwise(edges)]
        self.writer.add_histogram_raw(
            name,
            min=edges[0],
            max=edges[-1],
            num=sum(occupied),
            sum=sum(count * centre for count, centre in zip(occupied, centres, strict=True)),
            sum_squares=sum(count * centre**2 for count, centre in zip(occupied, centres, strict=True)),
            bucket_limits=edges[1:],
            bucket_counts=occupied,
            global_step=step,
        )

    def text(self, step: int, name: str, text: str, *, is_alert: bool) -> None:
        """Record a finding."""
        self.writer.add_text(name, text, step)

    def close(self) -> None:
        """Flush and close the event file."""
        self.writer.close()


class WandbSink:
    """Writes to wandb, configured by its environment variables: `WANDB_MODE=offline` needs neither network nor key.

    If the program has an active wandb run, the rows are added to that run. They wait for the next row that the program logs,
    because a separate row would advance wandb's step, and wandb would then reject the program's `log(..., step=)`.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Join the program's wandb run, or start or continue the one of a run directory."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # from wandb's dependencies
            import wandb
        self.wandb = wandb
        self.is_joined = wandb.run is not None
        if wandb.run is not None:
            self.run = wandb.run
            return
        # The id is stored, so that a resumed run continues the same curve.
        id_file = folder / "wandb-id.txt"
        run_id = id_file.read_text().strip() if id_file.exists() else uuid.uuid4().hex[:8]
        id_file.write_text(run_id)
        self.run = wandb.init(
            project="trainability", name=folder.name, dir=str(folder), id=run_id, resume="allow", config=dict(config)
        )

    def _log(self, step: int, values: Mapping[str, Any]) -> None:
        if self.is_joined:
            self.run.log({**values, "trainability/step": step}, commit=False)
        else:
            self.run.log({**values, "step": step})

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Record named numbers of a step."""
        self._log(step, values)

    def histogram(self, step: int, name: str, shares: LogHistogram) -> None:
        """Record a tensor's histogram: fractions of elements by magnitude."""
        import numpy as np

        occupied, edges = _occupied(shares)
        self._log(step, {name: self.wandb.Histogram(np_histogram=(np.array(occupied), np.array(edges)))})

    def text(self, step: int, name: str, text: str, *, is_alert: bool) -> None:
        """Record a finding; one worse than a hint is an alert of wandb too."""
        self._log(step, {name: text})
        if is_alert:
            self.run.alert(title=name, text=f"step {step}: {text}")

    def close(self) -> None:
        """Finish the wandb run, unless it belongs to the program."""
        if not self.is_joined:
            self.run.finish()


SINKS: dict[str, Callable[[Path, Mapping[str, Any]], Sink]] = {"tensorboard": TensorBoardSink, "wandb": WandbSink}
