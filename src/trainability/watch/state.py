"""State of a run in progress, read from its files and reduced to what a screen can show."""

from __future__ import annotations

import contextlib
import math
import time
from pathlib import Path
from typing import Any

from trainability import config as configuration
from trainability.config import RunConfig
from trainability.formats import finite
from trainability.training.record import CONFIG, EVALUATIONS, FINDINGS, LAYERS, LOOP, STEPS, check_is_run
from trainability.training.rows import read_json
from trainability.watch.tail import Tail, read_replaced

MAX_SPANS = 1024
LAYER_BYTES = 2**20  # a sample of VGG-E's 19 layers, histograms included, is about 70 kB


class Means:
    """Means of a series over spans of equally many steps, never more than `MAX_SPANS`, however long the run is."""

    def __init__(self) -> None:
        """Begin with one step per span."""
        self.span = 1
        self.sums: list[float] = []
        self.counts: list[int] = []

    def add(self, step: int, value: float | None) -> None:
        """Add a value; `None` leaves the step empty."""
        while (step - 1) // self.span >= MAX_SPANS:
            self._widen()
        place = (step - 1) // self.span
        missing = place + 1 - len(self.sums)
        self.sums += [0.0] * missing
        self.counts += [0] * missing
        if value is not None:
            self.sums[place] += value
            self.counts[place] += 1

    def _widen(self) -> None:
        self.span *= 2
        self.sums = [sum(self.sums[i : i + 2]) for i in range(0, len(self.sums), 2)]
        self.counts = [sum(self.counts[i : i + 2]) for i in range(0, len(self.counts), 2)]

    def points(self, max_points: int) -> list[tuple[float, float | None]]:
        """Return the middle step and the mean of groups of spans; `None` if they have no value."""
        num = math.ceil(len(self.sums) / max(max_points, 1)) or 1
        points = []
        for place in range(0, len(self.sums), num):
            total, counts = sum(self.sums[place : place + num]), self.counts[place : place + num]
            middle = (place + len(counts) / 2) * self.span + 0.5
            points.append((middle, total / sum(counts) if any(counts) else None))
        return points


class LiveRun:
    """A run directory that is read repeatedly, and never written.

    Attributes:
        folder: run directory.
        config: complete; `None` for the run of a loop other than `train`.
        loop: `loop.json`; empty for a run of `train`.
        data: `data.json`; `None` before it is written.
        findings: the last diagnosis; `None` before it is written.
        result: how the run ended; `None` before it is written.
        losses: of the training steps.
        errors: top-1 errors of the training steps.
        step: the newest step's row; `None` before it is written.
        images_per_second: newest recorded training speed.
        steps_per_second: the same for a loop other than `train`.
        first_nonfinite: first step whose loss or gradient norm was NaN or infinite.
        evaluations: a row per epoch.
        layers: rows of the newest sampled step.
        num_restarts: how often a resume removed steps.
    """

    def __init__(self, folder: Path) -> None:
        """Read a run directory for the first time.

        Raises:
            ValueError: it is not a run directory, or its configuration cannot be read.
        """
        check_is_run(folder)
        self.folder = folder
        self.config: RunConfig | None = None
        if (folder / CONFIG).is_file():
            self.config = configuration.from_toml(folder / CONFIG).completed()
        self.loop: dict[str, Any] = read_json(folder / LOOP, {})
        numbered = "epoch" if self.config is not None else "step"
        self.tails = {
            STEPS: Tail(folder / STEPS, key="step"),
            EVALUATIONS: Tail(folder / EVALUATIONS, key=numbered, least=1 if self.config is not None else 0),
            LAYERS: Tail(folder / LAYERS, key="step", newest_bytes=LAYER_BYTES),
        }
        self.data: dict[str, Any] | None = None
        self.findings: dict[str, Any] | None = None
        self.result: dict[str, Any] | None = None
        self.num_restarts = 0
        self.evaluations: list[dict[str, Any]] = []
        self.layers: list[dict[str, Any]] = []
        self._forget_steps()
        self.last_change: float | None = None
        self.poll()
        # From here on, use only this machine's clock: that of a shared disk may differ.
        self.last_change = time.monotonic() - max(0.0, time.time() - self._newest())

    def _forget_steps(self) -> None:
        self.losses, self.errors = Means(), Means()
        self.step: dict[str, Any] | None = None
        self.images_per_second: float | None = None
        self.steps_per_second: float | None = None
        self.first_nonfinite: int | None = None

    def _newest(self) -> float:
        """Return when a file was last written, in seconds since 1970."""
        times = []
        for name in (*self.tails, FINDINGS, "data.json", CONFIG, LOOP):
            with contextlib.suppress(OSError):
                times.append((self.folder / name).stat().st_mtime)
        return max(times, default=time.time())

    def poll(self) -> None:
        """Read new records."""
        before = (self.data, self.findings, self.result, self.config)
        # Read first, so that everything that the run wrote before its end is found below.
        self.result = read_replaced(self.folder / "result.json", self.result)
        self.findings = read_replaced(self.folder / FINDINGS, self.findings)
        self.data = read_replaced(self.folder / "data.json", self.data)
        if self.config is not None:
            with contextlib.suppress(OSError, ValueError):  # a resume may have raised the number of epochs
                self.config = configuration.from_toml(self.folder / CONFIG).completed()
        num_rows = self._read(STEPS) + self._read(EVALUATIONS) + self._read(LAYERS)
        if num_rows or before != (self.data, self.findings, self.result, self.config):
            self.last_change = time.monotonic()

    def _read(self, name: str) -> int:
        num_rows = 0
        while True:
            new = self.tails[name].read()
            if name == STEPS:
                self._take_steps(new.rows, is_restart=new.is_restart)
            elif name == EVALUATIONS:
                self.evaluations = [*([] if new.is_restart else self.evaluations), *new.rows]
            else:
                rows = [*([] if new.is_restart else self.layers), *new.rows]
                self.layers = [row for row in rows if row["step"] == rows[-1]["step"]]
            num_rows += len(new.rows)
            if new.is_all:
                return num_rows

    def _take_steps(self, rows: list[dict[str, Any]], *, is_restart: bool) -> None:
        if is_restart:
            self._forget_steps()
            self.num_restarts += 1
        for row in rows:
            loss, norm = finite(row.get("loss")), finite(row.get("gradient_norm", 0.0))  # unrecorded counts as finite
            self.losses.add(row["step"], loss)
            self.errors.add(row["step"], finite(row.get("top1_error")) if loss is not None else None)
            if self.first_nonfinite is None and (loss is None or norm is None):
                self.first_nonfinite = row["step"]
            self.images_per_second = finite(row.get("images_per_second")) or self.images_per_second
            self.steps_per_second = finite(row.get("steps_per_second")) or self.steps_per_second
            self.step = row

    @property
    def problems(self) -> list[str]:
        """Reasons why files could not be read last time."""
        return [tail.problem for tail in self.tails.values() if tail.problem]

    @property
    def silent_seconds(self) -> float:
        """Seconds since the last record was written."""
        assert self.last_change is not None
        return time.monotonic() - self.last_change

    @property
    def num_classes(self) -> int | None:
        """Number of classes; `None` if it is not recorded yet."""
        return len(self.data["class_names"]) if self.data else self.loop.get("num_classes")

    @property
    def steps_per_epoch(self) -> int | None:
        """Steps per epoch; `None` if the number of images is not recorded and no epoch is finished."""
        if self.data and self.config is not None:
            return math.ceil(self.data["num_train"] / self.config.optim.batch_size)
        if self.config is None:
            return None
        return self.evaluations[0]["step"] // self.evaluations[0]["epoch"] if self.evaluations else None
