"""Record what the loop does: rows for the run directory and the sinks, progress for the display, and the outcome."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from trainability import config as configuration
from trainability.config import RunConfig
from trainability.data.loader import Loader
from trainability.doctor.diagnosis import Diagnosis
from trainability.doctor.finding import Finding
from trainability.doctor.layer_stats import LayerStats
from trainability.evaluation.metrics import Errors, errors
from trainability.initialization import LayerInit
from trainability.training.checkpoint import EpochSums, Position
from trainability.training.doctor_log import DoctorLog
from trainability.training.engine import Engine
from trainability.training.record import EVALUATIONS, STEPS, RunWriter, read_rows
from trainability.training.schedule import after_evaluation
from trainability.training.sinks import SINKS, Sink
from trainability.training.tally import StepSums


@dataclass(frozen=True, kw_only=True)
class RunOverview:
    """What a display receives when training starts.

    Attributes:
        config: complete.
        folder: run directory.
        num_parameters: of the network.
        num_train: training images.
        num_val: validation images.
        num_classes: logits.
        steps_per_epoch: updates.
        position: of the run; not step 0 if it was resumed.
        table: initialisation table.
        notes: lines to show to the user.
        engine: device, precision, processes.
    """

    config: RunConfig
    folder: Path
    num_parameters: int
    num_train: int
    num_val: int
    num_classes: int
    steps_per_epoch: int
    position: Position
    table: list[LayerInit]
    notes: list[str]
    engine: Engine


class Display(Protocol):
    """Shows a run to the user; called only in the main process."""

    def start(self, start: RunOverview) -> None:
        """Training begins."""
        ...

    def step(self, position: Position) -> None:
        """A step was issued. Called every step: it must be fast and must not wait for the device."""
        ...

    def rows(self, rows: list[dict[str, Any]]) -> None:
        """Steps were read from the device; each is a row of `steps.jsonl`."""
        ...

    def evaluation(self, row: dict[str, Any]) -> None:
        """An epoch ended; the row of `evaluations.jsonl`."""
        ...

    def diagnosed(self, diagnosis: Diagnosis, new: list[Finding]) -> None:
        """The check before the first step is done, or there are new findings."""
        ...


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a call of `fit` ended.

    Attributes:
        status: "finished", "interrupted", "stopped" (`--run.stop-on`) or "non-finite".
        position: of the run.
        evaluation: row of the run's last evaluation, if any.
        message: for a run that did not finish, what happened.
        images_per_second: mean over this call's training time; `None` if it read no step.
    """

    status: str
    position: Position
    evaluation: dict[str, Any] | None
    message: str | None
    images_per_second: float | None


@dataclass(frozen=True, kw_only=True)
class _Issued:
    """A step that was issued to the device and not read yet."""

    step: int
    num_examples: int
    lr: float


class Logbook:
    """Collects the steps since the last read, and records them when their results are read."""

    def __init__(
        self,
        config: RunConfig,
        record: RunWriter,
        engine: Engine,
        display: Display | None,
        loader: Loader,
        start: RunOverview,
    ) -> None:
        """Open the sinks, and tell the display that training starts."""
        self.config, self.record, self.loader = config, record, loader
        # The other processes compute the same and record nothing.
        self.writes = engine.is_main
        self.display = display if engine.is_main else None
        flat = {
            f"{section}.{flag}": str(getattr(getattr(config, section), name))
            for section, names in configuration.field_flags().items()
            for flag, name in names.items()
        }
        self.sinks: list[Sink] = [SINKS[name](record.folder, flat) for name in config.run.sinks] if engine.is_main else []
        self.pending: list[_Issued] = []
        recorded = read_rows(record.folder / EVALUATIONS) if engine.is_main else []
        self.last_evaluation: dict[str, Any] | None = recorded[-1] if recorded else None
        self.num_examples, self.seconds = 0, 0.0
        # A resumed run shows its open findings again; the file has each finding once, at its first step.
        self.doctor = DoctorLog(record, self.sinks)
        if self.display:
            self.display.start(start)
        self.clock = time.perf_counter()

    def issued(self, position: Position, num_examples: int, lr: float) -> None:
        """Note a step whose results have not been read."""
        self.pending.append(_Issued(step=position.step, num_examples=num_examples, lr=lr))
        if self.display:
            self.display.step(position)

    def read(self, position: Position, sums: list[StepSums]) -> Position:
        """Record the steps since the last read, and add them to the sums of the epoch.

        Args:
            position: after the last of them.
            sums: as read from the device, one per issued step.

        Returns:
            The position with updated sums; the first non-finite step and those after it do not count.
        """
        now = time.perf_counter()
        elapsed, self.clock = now - self.clock, now
        steps = list(zip(self.pending, sums, strict=True))
        self.pending = []
        good = [(issued, step) for issued, step in steps if step.is_finite]
        rows = [self._row(issued, step, position.epoch + 1) for issued, step in steps[: len(good) + 1]]
        num_examples = sum(issued.num_examples for issued, _ in steps)
        rows[-1]["images_per_second"] = num_examples / elapsed
        self.num_examples += num_examples
        self.seconds += elapsed
        if self.writes:
            self.record.append(STEPS, rows)
        for sink in self.sinks:
            for row in rows:
                unnamed = ("step", "clipped", "micro_batches")
                named = {key: value for key, value in row.items() if key not in unnamed and value is not None}
                sink.scalars(row["step"], {f"train/{key}": float(value) for key, value in named.items()})
        if self.display:
            self.display.rows(rows)
        before = position.sums
        return replace(
            position,
            sums=EpochSums(
                loss_sum=before.loss_sum + sum(step.loss_sum for _, step in good),
                top1_correct=before.top1_correct + sum(step.top1_correct for _, step in good),
                top5_correct=before.top5_correct + sum(step.top5_correct for _, step in good),
                num_examples=before.num_examples + sum(issued.num_examples for issued, _ in good),
                seconds=before.seconds + elapsed,
            ),
        )

    def _row(self, issued: _Issued, step: StepSums, epoch: int) -> dict[str, Any]:
        means = errors(step.loss_sum, step.top1_correct, step.top5_correct, issued.num_examples, self.loader.num_classes)
        clip = self.config.optim.clip
        return {
            "step": issued.step,
            "epoch": epoch,
            "lr": issued.lr,
            "loss": means.loss,
            "top1_error": means.top1_error,
            "top5_error": means.top5_error,
            "gradient_norm": step.gradient_norm,
            "clipped": clip is not None and step.gradient_norm > clip,
            "micro_batches": step.micro_batches,
        }

    def layers(self, step: int, layers: tuple[LayerStats, ...]) -> None:
        """Record the layers of a sampled step."""
        self.doctor.layers(step, layers)

    def diagnosed(self, step: int, diagnosis: Diagnosis, new: list[Finding]) -> None:
        """Record a diagnosis, and show its new findings."""
        self.doctor.diagnosed(step, diagnosis, new)
        if self.display:
            self.display.diagnosed(diagnosis, new)

    def epoch(self, position: Position, measured: Errors) -> Position:
        """Record the end of an epoch.

        Args:
            position: after its last step, with its sums.
            measured: on the validation set.

        Returns:
            The position at the start of the next epoch.
        """
        sums, optim = position.sums, self.config.optim
        train = errors(sums.loss_sum, sums.top1_correct, sums.top5_correct, sums.num_examples, self.loader.num_classes)
        plateau = after_evaluation(
            position.plateau, optim, error=measured.top1_error, top5_error=measured.top5_error, step=position.step
        )
        row = {
            "epoch": position.epoch + 1,
            "step": position.step,
            **{f"train_{key}": getattr(train, key) for key in ("loss", "top1_error", "top5_error")},
            **{f"val_{key}": getattr(measured, key) for key in ("loss", "top1_error", "top5_error", "num_examples")},
            "best_top1_error": plateau.best_error,
            "lr_drops": plateau.num_drops,
            "train_seconds": sums.seconds,
            "images_per_second": sums.num_examples / sums.seconds if sums.seconds else None,
        }
        self.last_evaluation = row
        if self.writes:
            self.record.append(EVALUATIONS, [row])
        for sink in self.sinks:
            named = {key: value for key, value in row.items() if key.startswith(("train_", "val_")) and value is not None}
            sink.scalars(position.step, {f"epoch/{key}": float(value) for key, value in named.items()})
        if self.display:
            self.display.evaluation(row)
        return Position(step=position.step, epoch=position.epoch + 1, plateau=plateau)

    def restart_clock(self) -> None:
        """Exclude evaluation and saving from the training speed."""
        self.clock = time.perf_counter()

    def end(self, position: Position, status: str, message: str | None) -> Outcome:
        """Record how the run ended."""
        speed = self.num_examples / self.seconds if self.seconds else None
        if self.writes:
            self.record.write_result(
                status=status,
                message=message,
                step=position.step,
                epoch=position.epoch,
                best_top1_error=position.plateau.best_error,
                best_step=position.plateau.best_step,
                images_per_second=speed,
            )
        for sink in self.sinks:
            sink.close()
        return Outcome(
            status=status,
            position=position,
            evaluation=self.last_evaluation,
            message=message,
            images_per_second=speed,
        )
