"""The doctor in a training run: checks before the first step, monitors the loop, reports findings, and may end the run."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trainability.config import RunConfig
from trainability.doctor import Diagnosis, Evidence, Monitor, diagnose
from trainability.doctor.best_constant import in_tense_of
from trainability.doctor.continuing import keep_prescriptions
from trainability.doctor.error_line import error_line
from trainability.doctor.evidence import Evaluation, OptimizerSettings, StepRecord
from trainability.doctor.finding import take_news
from trainability.doctor.tense import IS_TRAINING
from trainability.prescribe.remedies import prescribed
from trainability.training.checkpoint import Position
from trainability.training.precheck import DOOMED, evidence_before, first_images
from trainability.training.record import EVALUATIONS, Run, RunWriter, read_rows, read_run
from trainability.training.run_state import has_ended
from trainability.training.schedule import Plateau, after_evaluation, learning_rate

if TYPE_CHECKING:
    from trainability.data.loader import MicroBatch
    from trainability.training.engine import Engine
    from trainability.training.logbook import Logbook
    from trainability.training.parts import TrainingParts
    from trainability.training.tally import Tally


class RunMonitor:
    """Context manager around the loop. It does not change the run's numbers.

    Every process watches its own steps, so that they can be compared. The main process checks before the first step, diagnoses
    and writes.

    Attributes:
        doomed: with `--run.stop-on doomed`, one line that says why the run must end, else `None`.
    """

    def __init__(
        self, config: RunConfig, parts: TrainingParts, record: RunWriter, engine: Engine, logbook: Logbook, position: Position
    ) -> None:
        """Check before the first step, or restore the evidence of an interrupted run."""
        self.config, self.parts, self.record, self.engine, self.logbook = config, parts, record, engine, logbook
        self.doomed: str | None = None
        self.monitor: Monitor | None = None
        self.before = Evidence(num_classes=parts.loader.num_classes)
        self.first_diagnosis: Diagnosis | None = None
        self.reported: dict[str, int] = {}
        self.last_sample = position.step
        self.loss_before = torch.zeros((), dtype=torch.float64, device=engine.device)
        self.plateau = Plateau()
        self._last: tuple[int, Diagnosis] | None = None  # step of the last diagnosis, and the diagnosis
        if engine.is_main:
            self._begin(position)
        if config.run.monitor_every_steps is not None:
            self.monitor = Monitor(
                parts.network,
                parts.optimizer,
                config.run.monitor_every_steps,
                num_classes=parts.loader.num_classes,
                clip=config.optim.clip,
                first_step=position.step + 1,
            )

    def _begin(self, position: Position) -> None:
        self.plateau = _replayed(self.record.folder, self.config)
        if position.step > 0:
            self._guarded(self._restore_evidence, position)
        elif self.config.run.check == "on":
            steps = self.parts.loader.steps_per_epoch * self.config.optim.epochs
            self.before = evidence_before(self.parts, self.config, self.engine, planned_steps=steps, run_follows=True)
            self._guarded(self._look, position)

    def __enter__(self) -> RunMonitor:
        """Attach to the optimizer, and at every sampled step to the network."""
        if self.monitor is not None:
            self.monitor.__enter__()
        self.logbook.restart_clock()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Detach, and write the evidence."""
        if self.monitor is not None:
            self.monitor.__exit__(kind, error, trace)
        if self.is_on:
            evidence = self.evidence()
            self.record.write_evidence(without_histograms(evidence).to_dict())
            if self._last is not None and (said := self._last[1]).verdict == IS_TRAINING:
                ended: Any = in_tense_of(evidence, said.verdict)
                self.logbook.diagnosed(self._last[0], dataclasses.replace(said, verdict=ended), [])

    @property
    def is_on(self) -> bool:
        """Whether this process monitors the run."""
        settings = self.config.run
        return self.engine.is_main and (settings.check == "on" or settings.monitor_every_steps is not None)

    def after_backward(self, tally: Tally, micro: MicroBatch, position: Position) -> None:
        """Note a micro-batch: the loss as logged, and the schedule's learning rate. Does not wait for the device."""
        if self.monitor is None:
            return
        logged = tally.loss_sum.clone()
        loss = (logged - self.loss_before) / len(micro.labels)
        self.loss_before = torch.zeros_like(logged) if micro.is_last else logged
        expected = None
        if self.engine.is_main:  # only this process knows the error that the schedule follows
            per_epoch = self.parts.loader.steps_per_epoch
            expected = learning_rate(self.config.optim, step=position.step, steps_per_epoch=per_epoch, plateau=self.plateau)
        self.monitor.after_backward(loss, expected_lr=expected, is_last=micro.is_last)

    @property
    def on_norm(self) -> Callable[[Tensor], None] | None:
        """The function to call with a step's gradient norm, which the loop computes anyway; None without monitoring."""
        return None if self.monitor is None else self.monitor.take_gradient_norm

    def evaluated(self, position: Position, row: dict[str, Any] | None) -> None:
        """Note the end of an epoch, with its row of `evaluations.jsonl`."""
        assert row is not None
        self.plateau = _after_row(self.plateau, self.config, row)
        if self.monitor is not None:
            for split, name in (("train", "train"), ("validation", "val")):
                self.monitor.record_evaluation(split, loss=row[f"{name}_loss"], top1_error=row[f"{name}_top1_error"])
        if self.is_on:
            self._guarded(self._look, position)
            self.record.write_evidence(without_histograms(self.evidence()).to_dict())

    def evidence(self) -> Evidence:
        """All evidence, from before and from this call."""
        if self.monitor is None:
            return self.before
        return self.before.merge(self.monitor.evidence())

    def look(self, position: Position) -> None:
        """Called after a read of the device: write new layer records, and diagnose if there are any."""
        if self.monitor is None or not self.engine.is_main:
            return
        new = [sample for sample in self.monitor.evidence().samples if sample.step > self.last_sample]
        for sample in new:
            self.logbook.layers(sample.step, sample.layers)
            self.last_sample = sample.step
        if new:
            self._guarded(self._look, position)

    def _guarded(self, action: Callable[[Position], None], position: Position) -> None:
        """Keep an error of the doctor from stopping the run: it is recorded in the evidence and shown once."""
        try:
            action(position)
        except Exception as error:
            line = f"the doctor failed ({error_line(error)})"
            if line not in self.before.problems:
                self.before = dataclasses.replace(self.before, problems=(*self.before.problems, line))
                warnings.warn(line, RuntimeWarning, stacklevel=2)

    def _restore_evidence(self, position: Position) -> None:
        self.before = until(read_evidence(read_run(self.record.folder)), position.step)

    def _look(self, position: Position) -> None:
        diagnosis = diagnose(self.evidence())
        if position.step == 0:
            images, _ = first_images(self.parts, min(16, len(self.parts.loader.train_labels)))
            diagnosis = self.first_diagnosis = prescribed(diagnosis, self.parts.model, images, plan=self.config.init.plan)
        elif self.first_diagnosis is not None:
            diagnosis = keep_prescriptions(diagnosis, self.first_diagnosis)
        self._last = position.step, diagnosis
        self.logbook.diagnosed(position.step, diagnosis, take_news(diagnosis.findings, self.reported))
        if self.config.run.stop_on == "doomed" and diagnosis.verdict in DOOMED:
            self.doomed = f"{diagnosis.verdict}: {diagnosis.reason}"


def _replayed(folder: Path, config: RunConfig) -> Plateau:
    """Compute the schedule's state after the recorded evaluations, to compare with a resumed run."""
    plateau = Plateau()
    for row in read_rows(folder / EVALUATIONS):
        plateau = _after_row(plateau, config, row)
    return plateau


def _after_row(plateau: Plateau, config: RunConfig, row: dict[str, Any]) -> Plateau:
    """The schedule's state after a row of `evaluations.jsonl`."""
    errors = {"error": row["val_top1_error"], "top5_error": row["val_top5_error"]}
    return after_evaluation(plateau, config.optim, **errors, step=row["step"])


def without_histograms(evidence: Evidence) -> Evidence:
    """Drop the histograms, which are in `layers.jsonl` and which no rule reads."""
    empty = dict.fromkeys(("weight_histogram", "gradient_histogram", "activation_histogram"))
    samples = tuple(
        dataclasses.replace(sample, layers=tuple(dataclasses.replace(layer, **empty) for layer in sample.layers))
        for sample in evidence.samples
    )
    return dataclasses.replace(evidence, samples=samples)


def until(evidence: Evidence, step: int) -> Evidence:
    """Drop the evidence from after the step at which the loop continues."""
    return dataclasses.replace(
        evidence,
        steps=tuple(record for record in evidence.steps if record.step <= step),
        samples=tuple(sample for sample in evidence.samples if sample.step <= step),
        evaluations=tuple(row for row in evidence.evaluations if row.step <= step),
        has_ended=False,
    )


def read_evidence(run: Run) -> Evidence:
    """Read a run's evidence; if the run wrote none, make it from its steps and evaluations.

    Raises:
        ValueError: the file was changed or damaged.
    """
    if run.evidence is not None:
        kept = Evidence.from_dict(run.evidence)
        # Evidence is written at the end of every epoch; for a killed run, the steps since then are added.
        last = kept.steps[-1].step if kept.steps else 0
        later = (_step(row, run) for row in run.steps if row["step"] > last)
        return dataclasses.replace(kept, steps=(*kept.steps, *later), has_ended=has_ended(run.folder, run.result))
    return Evidence(
        steps=tuple(_step(row, run) for row in run.steps),
        evaluations=tuple(
            Evaluation(step=row["step"], split=split, loss=row.get(f"{name}_loss"), top1_error=row.get(f"{name}_top1_error"))
            for row in run.evaluations
            for split, name in (("train", "train"), ("validation", "val"))
            if {f"{name}_loss", f"{name}_top1_error"} & set(row)
        ),
        num_classes=len(run.data["class_names"]) if run.data else run.loop.get("num_classes"),
        optimizer=_settings(run.config),
        has_ended=has_ended(run.folder, run.result),
    )


def _settings(config: RunConfig | None) -> OptimizerSettings | None:
    if config is None:
        return None
    optim = config.optim
    return OptimizerSettings(name="SGD", lr=optim.lr, momentum=optim.momentum, weight_decay=optim.weight_decay, clip=optim.clip)


def _step(row: dict, run: Run) -> StepRecord:
    nan = float("nan")
    if run.config is None:
        # A number that is missing is unknown; null was not finite.
        names = ("loss", "gradient_norm", "clip_ratio", "lr", "micro_batches", "skipped")
        known: dict[str, Any] = {"loss": nan} | {name: nan if row[name] is None else row[name] for name in names if name in row}
        return StepRecord(step=row["step"], **known)
    norm, optim = row["gradient_norm"], run.config.optim
    # Older versions did not record the number of micro-batches of a step; take the configuration's.
    of_process = math.ceil(optim.batch_size / run.environment.get("world_size", 1))
    usual = math.ceil(of_process / (optim.micro_batch_size or of_process))
    ratio = min(1.0, optim.clip / norm) if optim.clip is not None and norm else None
    return StepRecord(
        step=row["step"],
        loss=nan if row["loss"] is None else row["loss"],
        gradient_norm=nan if norm is None else norm,
        clip_ratio=ratio,
        lr=row["lr"],
        micro_batches=row.get("micro_batches", usual),
    )


def diagnose_run(folder: Path) -> Diagnosis:
    """Diagnose a run from its directory.

    Raises:
        ValueError: it is not a run directory, or a file in it is damaged.
    """
    return diagnose(read_evidence(read_run(folder)))
