"""Writes the run directory of a training loop that is not `train`: from what Monitor reads, as it reads it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainability.doctor.diagnosis import Diagnosis
from trainability.doctor.error_line import error_line
from trainability.doctor.evidence import Evaluation, Sample, StepRecord
from trainability.doctor.finding import Finding
from trainability.training.doctor_log import DoctorLog
from trainability.training.record import EVALUATIONS, STEPS, RunWriter
from trainability.training.run_monitor import without_histograms
from trainability.training.sinks import SINKS, Sink

VERSION = 1
_EVIDENCE_EVERY_SECONDS = 60.0  # the whole evidence is up to a few megabytes; steps and layers are appended at once


class LoopRecorder:
    """Keeps a run directory up to date. An error in here is named once, and nothing is written from then on.

    Attributes:
        folder: run directory.
        problem: why nothing is written any more; `None` while all is well.
    """

    def __init__(
        self,
        folder: Path,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None,
        *,
        config: Mapping[str, Any],
        sinks: Sequence[str],
        facts: Mapping[str, Any],
    ) -> None:
        """Create the run directory and lock it.

        Args:
            folder: of the run.
            model: plain; its name and size are recorded.
            optimizer: its name is recorded.
            config: what the user calls the configuration; values that are no JSON are written as text.
            sinks: keys of `SINKS`.
            facts: more of `loop.json`.

        Raises:
            ValueError: the directory already holds a run, is in use, or cannot be written.
        """
        self.folder, self.problem = folder, None
        parameters = list(model.parameters())
        loop = {
            "version": VERSION,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "model": type(model).__name__,
            "num_parameters": sum(p.numel() for p in parameters if not nn.parameter.is_lazy(p)),
            "optimizer": type(optimizer).__name__ if optimizer is not None else None,
            **facts,
            "config": _plain(config),
        }
        self._record = RunWriter.create_for_loop(folder, loop)
        self._open = contextlib.ExitStack()
        self._open.enter_context(self._record.held())
        device = parameters[0].device if parameters else torch.device("cpu")
        self._is_on_cpu = device.type == "cpu"
        self._record.write_environment(device=device, world_size=num_processes(), program=_program())
        self._sinks: list[Sink] = [SINKS[name](folder, _flat(loop["config"])) for name in sinks]
        self._log = DoctorLog(self._record, self._sinks)
        self._epochs: list[tuple[int, int]] = []  # first step and number of the epochs that the loop told of
        self._clock, self._last_step = time.perf_counter(), 0
        self._evidence_at = -_EVIDENCE_EVERY_SECONDS

    def begin_epoch(self, first_step: int, epoch: int) -> None:
        """From this step on, rows belong to this epoch, counted from 1."""
        self._epochs.append((first_step, epoch))

    def steps(self, records: Sequence[StepRecord], stepped_at: float, *, has_ended: bool) -> None:
        """Append the rows of steps that were read from the device.

        Args:
            records: of the steps.
            stepped_at: when the last of them ended, by `time.perf_counter`. The doctor's own work, and what a program does
                after its last step, come later.
            has_ended: no step follows. Of another device than the CPU the speed is left out then: what `stepped_at` shows is
                when the step was queued.
        """
        if records:
            at = stepped_at if self._is_on_cpu else None if has_ended else time.perf_counter()
            self._guarded(lambda: self._steps(records, at))

    def _steps(self, records: Sequence[StepRecord], at: float | None) -> None:
        rows = [self._row(record) for record in records]
        if at is not None:
            rows[-1]["steps_per_second"] = len(rows) / max(at - self._clock, 1e-9)
            self._clock = at
        self._record.append(STEPS, rows)
        for sink in self._sinks:
            for row in rows:
                named = {f"train/{key}": row.get(key) for key in ("loss", "lr", "gradient_norm", "steps_per_second")}
                sink.scalars(row["step"], {key: float(value) for key, value in named.items() if value is not None})

    def _row(self, record: StepRecord) -> dict[str, Any]:
        facts = {
            "step": record.step,
            "epoch": self._epoch_of(record.step),
            "lr": record.lr,
            "loss": record.loss,
            "gradient_norm": record.gradient_norm,
            "clip_ratio": record.clip_ratio,
            "clipped": None if record.clip_ratio is None else record.clip_ratio < 0.999,
            "micro_batches": record.micro_batches,
            "skipped": record.skipped,
        }
        return {key: value for key, value in facts.items() if value is not None}

    def _epoch_of(self, step: int) -> int | None:
        return next((epoch for first, epoch in reversed(self._epochs) if first <= step), None)

    def sample(self, sample: Sample) -> None:
        """Append the layers of a sampled step."""
        self._guarded(lambda: self._log.layers(sample.step, sample.layers))

    def evaluation(self, evaluation: Evaluation) -> None:
        """Append an evaluation."""
        self._guarded(lambda: self._evaluation(evaluation))

    def _evaluation(self, evaluation: Evaluation) -> None:
        part = {"train": "train", "validation": "val"}.get(evaluation.split, evaluation.split)
        values = {f"{part}_loss": evaluation.loss, f"{part}_top1_error": evaluation.top1_error}
        row = {"step": evaluation.step, "epoch": self._epoch_of(evaluation.step), **values}
        self._record.append(EVALUATIONS, [{key: value for key, value in row.items() if value is not None}])
        for sink in self._sinks:
            named = {f"evaluation/{key}": float(value) for key, value in values.items() if value is not None}
            sink.scalars(evaluation.step, named)

    def diagnosed(self, step: int, diagnosis: Diagnosis, new: Sequence[Finding], *, is_last: bool = False) -> None:
        """Write a diagnosis; its evidence too if there are new findings, at the end, and once a minute."""
        self._guarded(lambda: self._diagnosed(step, diagnosis, new, is_last))

    def _diagnosed(self, step: int, diagnosis: Diagnosis, new: Sequence[Finding], is_last: bool) -> None:
        self._log.diagnosed(step, diagnosis, new)
        now = time.monotonic()
        if new or is_last or now - self._evidence_at >= _EVIDENCE_EVERY_SECONDS:
            self._evidence_at = now
            self._record.write_evidence(without_histograms(diagnosis.evidence).to_dict())

    def end(self, step: int, status: str, message: str | None) -> None:
        """Write how the loop ended, close the sinks and release the lock."""
        facts = {"status": status, "message": message, "step": step}
        self._guarded(lambda: self._record.write_result(**facts))
        for sink in self._sinks:
            self._guarded(sink.close)
        self._sinks.clear()
        self._open.close()

    def remove(self) -> None:
        """Remove the run, once it has ended; what somebody else has put into the directory stays."""
        self._guarded(self._record.remove)

    def _guarded(self, action: Callable[[], None]) -> None:
        """The loop goes on whatever happens to the disk."""
        if self.problem is not None:
            return
        try:
            action()
        except Exception as error:
            self.problem = f"{self.folder}: nothing is written from here on ({error_line(error)})"
            with contextlib.suppress(Warning):  # where warnings are errors, the loop goes on all the same
                warnings.warn(self.problem, RuntimeWarning, stacklevel=2)


def is_main_process() -> bool:
    """Whether this process writes: the only one, or rank 0 of several."""
    return (torch.distributed.get_rank() if _is_distributed() else int(os.environ.get("RANK", "0"))) == 0


def num_processes() -> int:
    """How many processes train together."""
    return torch.distributed.get_world_size() if _is_distributed() else 1


def _is_distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _program() -> str:
    """How this process was started, without its arguments."""
    name = sys.argv[0] if sys.argv and sys.argv[0] not in ("", "-c") else ""
    return f"python {name}".strip()


def _plain(value: Any) -> Any:
    """A configuration as strict JSON; what is no number, text, list or dict is written as text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in config.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": str(value)}
    return flat
