"""Write and read the run directory.

All files are plain. JSON-lines files are only appended to, so a kill can leave at most an incomplete last line, which the
reader drops; all others are written under a temporary name and renamed. Only one process at a time writes (`RunWriter.held`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trainability import config as configuration
from trainability.config import RunConfig
from trainability.disk import lock, whole
from trainability.disk.strict_json import as_json
from trainability.training.commit import commit_of_program, own_commit
from trainability.training.free_folder import check_is_path, next_free
from trainability.training.rows import read_json, read_rows
from trainability.training.run_html import run_html
from trainability.training.run_tables import to_csv, to_pandas

# Reading a run does not need torch, so that `watch` starts at once.
if TYPE_CHECKING:
    import pandas as pd
    import torch

    from trainability.data.dataset import DataSet
    from trainability.initialization import LayerInit

STEPS, LAYERS, EVALUATIONS = "steps.jsonl", "layers.jsonl", "evaluations.jsonl"
ENVIRONMENT = "environment.json"
FINDINGS, FINDING_EVENTS, EVIDENCE, RESULT = "findings.json", "findings.jsonl", "evidence.json", "result.json"
CONFIG, LOOP = "config.toml", "loop.json"
"""A run directory contains one of the two: the configuration of `train`, or a description of another training loop."""


class RunWriter:
    """Writes a run directory; only in the main process."""

    def __init__(self, folder: Path) -> None:
        """Open a run directory that `create` made."""
        self.folder = folder

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.folder / "checkpoints"

    @classmethod
    def create(cls, folder: Path, config: RunConfig) -> RunWriter:
        """Create a run directory with its complete configuration.

        Raises:
            ValueError: the directory already holds a run, or cannot be written.
        """
        try:
            if (folder / LOOP).exists():
                raise ValueError(f"{folder} already holds the run of another training loop; choose another --run.dir")
            if (folder / CONFIG).exists():
                raise ValueError(
                    f"{folder} already holds a run; continue it with --resume {folder}, or choose another --run.dir"
                )
            (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
            cls(folder).write_config(config)
        except OSError as error:
            raise ValueError(f"run.dir {folder} cannot be written ({error.strerror})") from None
        return cls(folder)

    @classmethod
    def create_for_loop(cls, folder: Path, loop: dict[str, Any]) -> RunWriter:
        """Create the run directory of a training loop that is not `train`.

        Args:
            folder: of the run; an empty one may exist.
            loop: contents of `loop.json`, see docs/run-directory.md.

        Raises:
            ValueError: the directory already holds a run, or cannot be written.
        """
        try:
            if (folder / CONFIG).exists() or (folder / LOOP).exists():
                raise ValueError(f"{folder} already holds a run; choose another directory")
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / LOOP, loop)
        except OSError as error:
            raise ValueError(f"{folder} cannot be written ({error.strerror})") from None
        return cls(folder)

    def write_config(self, config: RunConfig) -> None:
        """Write the complete configuration, for `--recipe` and `--resume`."""
        whole.write(self.folder / CONFIG, configuration.to_toml(config).encode())

    def write_environment(self, *, device: torch.device, world_size: int, program: str | None = None) -> None:
        """Write versions, device, commit and command of the run; see `environment`."""
        write_json(self.folder / ENVIRONMENT, environment(device=device, world_size=world_size, program=program))

    def write_init(self, table: list[LayerInit]) -> None:
        """Write the initialisation table."""
        write_json(self.folder / "init.json", [dataclasses.asdict(row) for row in table])

    def write_data(self, data: DataSet) -> None:
        """Write a description of the data: names, counts, moments."""
        write_json(
            self.folder / "data.json",
            {
                "name": data.name,
                "class_names": data.class_names,
                "num_train": len(data.train),
                "num_val": len(data.val),
                "mean": data.mean.tolist(),
                "std": data.std.tolist(),
            },
        )

    def write_result(self, **result: Any) -> None:
        """Write how the run ended; a run in progress, or killed, has no such file."""
        write_json(self.folder / RESULT, result)

    def remove(self) -> None:
        """Remove the files of a loop that is not `train`, and the directory if nothing else is in it."""
        for name in (LOOP, ENVIRONMENT, STEPS, LAYERS, EVALUATIONS, FINDINGS, FINDING_EVENTS, EVIDENCE, RESULT, lock.FILE):
            (self.folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def write_findings(self, *, step: int, **diagnosis: Any) -> None:
        """Write the diagnosis after a step, without the evidence, which has its own file."""
        del diagnosis["evidence"]
        write_json(self.folder / FINDINGS, {"step": step, **diagnosis})

    def write_evidence(self, evidence: dict[str, Any]) -> None:
        """Write the evidence, for `trainability diagnose` and for a resume."""
        write_json(self.folder / EVIDENCE, evidence)

    def append(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        """Append rows to a JSON-lines file with one write."""
        text = "".join(as_json(row) + "\n" for row in rows)
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(text)

    def sync(self) -> None:
        """Flush the rows to the disk, before a checkpoint that relies on them."""
        for name in (STEPS, LAYERS, EVALUATIONS, FINDING_EVENTS):
            if (self.folder / name).exists():
                with (self.folder / name).open("rb") as file:
                    os.fsync(file.fileno())

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Lock the run directory, creating it if it is missing, and remove incomplete files of a killed run.

        Raises:
            ValueError: another process holds the lock, or the directory cannot be written.
        """
        with contextlib.ExitStack() as stack:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(lock.held(self.folder))
                for folder in (self.folder, self.checkpoints):
                    whole.remove_partials(folder)
            except OSError as error:
                raise ValueError(f"run.dir {self.folder} cannot be written ({error.strerror})") from None
            yield

    def rewind(self, *, step: int, epoch: int) -> None:
        """Drop the rows written after the checkpoint from which the run continues, and an incomplete last line.

        Everything is read before anything is written: a directory that cannot be continued is left unchanged.

        Args:
            step: updates done at the checkpoint.
            epoch: epochs done at the checkpoint.

        Raises:
            ValueError: a file is damaged.
        """
        read_run(self.folder)
        for name in (STEPS, LAYERS, EVALUATIONS, FINDING_EVENTS):
            key, last = ("epoch", epoch) if name == EVALUATIONS else ("step", step)
            path = self.folder / name
            if path.exists():
                rows = [row for row in read_rows(path) if row[key] <= last]
                whole.write(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
        (self.folder / "result.json").unlink(missing_ok=True)
        self.checkpoints.mkdir(exist_ok=True)

    def check_unsaved(self) -> None:
        """Refuse to restart a run whose checkpoints are missing, because that would delete its records.

        Raises:
            ValueError: the records go further than those of a run before its first checkpoint.
        """
        result = read_json(self.folder / "result.json", None)
        # The first checkpoint follows the first epoch's row; a run that ends earlier writes one too.
        if len(read_rows(self.folder / EVALUATIONS)) > 1 or (result is not None and result["step"] > 0):
            raise ValueError(
                f"{self.folder} cannot be continued: {self.checkpoints} has no checkpoint, and the records go beyond the first"
                f" one; start again with --recipe {self.folder / CONFIG}"
            )


def next_folder(config: RunConfig, root: Path = Path("runs")) -> Path:
    """Make the next free run directory: runs/digits-B-001, and so on.

    Raises:
        OSError: it cannot be made.
    """
    return next_free(f"{config.data.name}-{config.model.config}", root)


def write_json(path: Path, value: Any) -> None:
    """Write a strict JSON file atomically; NaN and infinities become null."""
    whole.write(path, (as_json(value, indent=2) + "\n").encode())


def environment(*, device: torch.device, world_size: int, program: str | None = None) -> dict[str, Any]:
    """Describe the software and hardware of a run.

    Args:
        device: of the model.
        world_size: number of processes.
        program: of the user, followed by the arguments of this process, whose commit is that of the run; `None` for this
            package's own.
    """
    import torch

    packages: dict[str, str | None] = {}
    for name in ("trainability", "torch", "numpy"):
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # run from a source tree that is not installed
            packages[name] = None
    is_cuda = device.type == "cuda"
    return {
        "command": [program or "trainability", *sys.argv[1:]],
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "device": torch.cuda.get_device_name(device) if is_cuda else _processor(),
        "device_type": device.type,
        "num_threads": torch.get_num_threads(),
        "world_size": world_size,
        "commit": own_commit() if program is None else commit_of_program(),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@dataclass(frozen=True, kw_only=True)
class Run:
    """The contents of a run directory. Lists are empty, and the result is `None`, until the run has written them.

    Attributes:
        folder: the directory.
        config: complete; `None` for the run of a loop other than `train`.
        loop: the description of that loop (`loop.json`); empty for a run of `train`.
        environment: versions, device, command.
        data: name, class_names, num_train, num_val, and mean and std of the training images per channel, in the range 0-255.
        init: rows of the initialisation table.
        steps: a row per step.
        layers: a row per layer and sampled step.
        evaluations: a row per epoch.
        findings: the last diagnosis: verdict, reason, findings, what was not checked.
        finding_events: a row per finding, with the step after which it first appeared, or first had its severity.
        evidence: of the diagnosis.
        result: how the run ended.
    """

    folder: Path
    config: RunConfig | None = None
    loop: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    init: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    layers: list[dict[str, Any]] = field(default_factory=list)
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    findings: dict[str, Any] | None = None
    finding_events: list[dict[str, Any]] = field(default_factory=list)
    evidence: dict[str, Any] | None = None
    result: dict[str, Any] | None = None

    def _repr_html_(self) -> str:
        return run_html(self)

    def to_pandas(self, table: Literal["steps", "layers", "evaluations", "findings"] = "steps") -> pd.DataFrame:
        """Return the rows of a table as a data frame; histograms and the measurements of findings are left out.

        Args:
            table: steps: a row per step. layers: per layer and sampled step. evaluations: per epoch, or evaluation of another
                loop. findings: per finding, with the step at which it appeared.

        Raises:
            ValueError: there is no such table.
            MissingExtra: pandas is not installed.
        """
        return to_pandas(self, table)

    def to_csv(self, path: Path | str, table: Literal["steps", "layers", "evaluations", "findings"] = "steps") -> Path:
        """Write the rows of a table as CSV, the same rows as in `to_pandas`; needs no pandas.

        Raises:
            ValueError: there is no such table.
            OSError: the file cannot be written.
        """
        return to_csv(self, path, table)

    @property
    def train_config(self) -> RunConfig:
        """The configuration, for functions that need a run of `train`.

        Raises:
            ValueError: it is the run of another loop.
        """
        if self.config is None:
            raise ValueError(f"{self.folder} is the run of another training loop; only a run of train has a {CONFIG}")
        return self.config


def runs_inside(folder: Path | str) -> list[Path]:
    """List the run directories of a loop with several optimizers (one each) inside a directory, sorted by name."""
    return [path.parent for path in sorted(Path(folder).glob(f"*/{LOOP}"))]


def check_is_run(folder: Path | str) -> None:
    """Raise a one-line `ValueError` if a folder is not a run directory."""
    check_is_path("run", folder)
    if not any((Path(folder) / name).is_file() for name in (CONFIG, LOOP)):
        inside = list(map(str, runs_inside(folder)))
        if inside:
            listed = f"{', '.join(inside[:-1])} and {inside[-1]}; choose one" if len(inside) > 1 else inside[0]
            raise ValueError(f"{folder} is not a run directory; it holds {listed}")
        raise ValueError(f"{folder} is not a run directory: it has neither {CONFIG} nor {LOOP}")


def read_run(folder: Path | str) -> Run:
    """Read a run directory in any state: finished, in progress or killed.

    Raises:
        ValueError: it is not a run directory, or a file in it is damaged.
    """
    check_is_run(folder)
    folder = Path(folder)
    return Run(
        folder=folder,
        config=configuration.from_toml(folder / CONFIG) if (folder / CONFIG).is_file() else None,
        loop=read_json(folder / LOOP, {}),
        environment=read_json(folder / ENVIRONMENT, {}),
        data=read_json(folder / "data.json", {}),
        init=read_json(folder / "init.json", []),
        steps=read_rows(folder / STEPS),
        layers=read_rows(folder / LAYERS),
        evaluations=read_rows(folder / EVALUATIONS),
        findings=read_json(folder / FINDINGS, None),
        finding_events=read_rows(folder / FINDING_EVENTS),
        evidence=read_json(folder / EVIDENCE, None),
        result=read_json(folder / "result.json", None),
    )
