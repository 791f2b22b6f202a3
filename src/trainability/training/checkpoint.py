"""Checkpoints that a kill cannot tear, and what is left of a run when one has been torn all the same.

A checkpoint is written under another name, flushed to the disk, and renamed: a name that counts is always whole. All random
draws are functions of (seed, epoch, position) (`keyed`), so a checkpoint holds weights, momentum, and where the run is.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import warnings
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.checkpoint.state_dict_loader import load as load_shards
from torch.distributed.checkpoint.state_dict_saver import save as save_shards

from trainability.training.engine import Engine
from trainability.training.schedule import Plateau

_NAME = re.compile(r"step-(\d{9})(\.pt)?")
_POSITION = "position.pt"
NUM_KEPT = 2


@dataclass(frozen=True, kw_only=True)
class EpochSums:
    """Training sums of the epoch so far; see `tally.StepSums`."""

    loss_sum: float = 0.0
    top1_correct: float = 0.0
    top5_correct: float = 0.0
    num_examples: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where a run is.

    Attributes:
        step: updates done.
        epoch: epochs done, evaluation included.
        step_in_epoch: updates done in the epoch that is under way.
        plateau: what the schedule remembers.
        sums: of the epoch that is under way.
    """

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    plateau: Plateau = field(default_factory=Plateau)
    sums: EpochSums = field(default_factory=EpochSums)


def save(folder: Path, position: Position, model: nn.Module, optimizer: torch.optim.Optimizer, engine: Engine) -> Path | None:
    """Write a checkpoint, and delete older ones but for the last two and the best.

    Args:
        folder: the run's `checkpoints/`.
        position: where the run is.
        model: on any device, not wrapped.
        optimizer: of its parameters.
        engine: only the main process writes, or all of them where the network is sharded.

    Returns:
        The checkpoint; `None` in processes that do not write.

    Raises:
        OSError: it cannot be written; the older ones are as they were.
    """
    name = f"step-{position.step:09d}"
    where = dataclasses.asdict(position)
    if engine.is_sharded:
        partial, final = folder / f"{name}.partial", folder / name
        weights, moments = get_state_dict(model, optimizer)
        if engine.is_main:
            shutil.rmtree(partial, ignore_errors=True)
        engine.barrier()
        save_shards({"model": weights, "optimizer": moments}, checkpoint_id=partial)
        if engine.is_main:
            torch.save(where, partial / _POSITION)
    else:
        if not engine.is_main:
            return None
        partial, final = folder / f"{name}.pt.partial", folder / f"{name}.pt"
        state = {"position": where, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
        try:
            with partial.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
        except (OSError, RuntimeError) as error:
            partial.unlink()  # room for the records of a run whose disk is full
            # torch says "unexpected pos" to a write that failed; why it failed, the system has said before.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise
    if engine.is_main:
        if final.is_dir():
            shutil.rmtree(final)
        partial.replace(final)
        _sync_folder(folder)
        _prune(folder, best_step=position.plateau.best_step)
    if engine.is_sharded:
        engine.barrier()
    return final


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power failure, not only through a kill."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _prune(folder: Path, *, best_step: int) -> None:
    kept = {step for step, _ in checkpoints(folder)[:NUM_KEPT]} | {best_step}
    for step, path in checkpoints(folder):
        if step not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """List a run's whole checkpoints as (step, path), the newest first."""
    if not folder.is_dir():
        return []
    found = [(int(match[1]), path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return sorted(found, reverse=True)


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A checkpoint that was read.

    Attributes:
        position: where the run was.
        path: of the checkpoint.
        skipped: one line per newer checkpoint that could not be read.
    """

    position: Position
    path: Path
    skipped: list[str]


def load_latest(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, engine: Engine) -> Loaded | None:
    """Restore the newest checkpoint that can be read; every process reads it.

    Args:
        folder: the run's `checkpoints/`.
        model: restored in place, not wrapped.
        optimizer: restored in place.
        engine: decides the form.

    Returns:
        What was read; `None` where there is no checkpoint yet.

    Raises:
        ValueError: there are checkpoints and none can be read.
    """
    skipped: list[str] = []
    for _, path in checkpoints(folder):
        try:
            if path.is_dir():
                position = _load_sharded(path, model, optimizer)
            else:
                position = _load_whole(path, model, optimizer, engine)
            return Loaded(position=position, path=path, skipped=skipped)
        except Exception as error:  # torch raises a dozen kinds for a torn file; each means the same here
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            skipped.append(f"{path.name} cannot be read ({reason[:120]})")
    if skipped:
        raise ValueError(f"{folder}: no checkpoint can be read: " + "; ".join(skipped))
    return None


def _load_whole(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, engine: Engine) -> Position:
    state = _read(path, engine.device)
    position = _position(state["position"])
    model.load_state_dict(state["model"])
    # How an update is computed belongs to this process, not to the one that wrote the file: a fused kernel takes no shares.
    fused = optimizer.defaults.get("fused")
    optimizer.load_state_dict(state["optimizer"])
    for group in optimizer.param_groups:
        group["fused"] = fused
    return position


def _read(path: Path, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint file whose every byte is as it was written.

    Raises:
        ValueError: a checksum is wrong. torch does not look at the checksums that it writes.
        zipfile.BadZipFile: the file is torn.
    """
    with zipfile.ZipFile(path) as archive:
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"the checksum of {damaged} is wrong")
    return torch.load(path, map_location=device, weights_only=True)


def _load_sharded(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Position:
    weights, moments = get_state_dict(model, optimizer)
    state = {"model": weights, "optimizer": moments}
    load_shards(state, checkpoint_id=path)
    position = _position(torch.load(path / _POSITION, weights_only=True))
    fused = optimizer.defaults.get("fused")
    set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
    for group in optimizer.param_groups:
        group["fused"] = fused
    return position


def _position(state: dict[str, Any]) -> Position:
    # Checkpoints from before the schedule could watch another error have none of their own: it was the top-1 error.
    plateau = Plateau(**{"best_watched": state["plateau"]["best_error"], **state["plateau"]})
    return Position(**{**state, "plateau": plateau, "sums": EpochSums(**state["sums"])})


def load_weights(folder: Path, *, step: int | None = None) -> dict[str, torch.Tensor]:
    """Read the weights of a run on the CPU, without its optimizer.

    Args:
        folder: the run's `checkpoints/`.
        step: which checkpoint; the newest by default.

    Raises:
        ValueError: there is none, or it is damaged.
    """
    for number, path in checkpoints(folder):
        if step is None or number == step:
            if path.is_dir():
                return _weights_of_shards(path)
            try:
                return _read(path, torch.device("cpu"))["model"]
            except (zipfile.BadZipFile, ValueError) as error:
                raise ValueError(f"{path} is damaged ({error}); resume its run to write it anew") from None
    raise ValueError(f"{folder}: no checkpoint" + ("" if step is None else f" of step {step}") + " to take weights from")


def load_tensor(folder: Path, name: str) -> tuple[int, torch.Tensor]:
    """Read one tensor of a run's weights, from the newest checkpoint that can be opened, and little else of a large file.

    Args:
        folder: the run's `checkpoints/`.
        name: as in the network's `state_dict()`.

    Returns:
        Updates that the checkpoint has, and the tensor on the CPU.

    Raises:
        ValueError: there is no checkpoint that can be opened, or it has no such tensor.
    """
    found = checkpoints(folder)
    if not found:
        raise ValueError(f"{folder} has no checkpoint")
    for step, path in found:
        try:
            if path.is_dir():
                return step, _weights_of_shards(path, only=name)[name]
            # Mapped, not read: of a VGG with its momentum, a gigabyte, only the pages of this tensor are. The checksums, for
            # which all of it would be read, are for those who go on with the weights.
            return step, torch.load(path, map_location="cpu", weights_only=True, mmap=True)["model"][name].clone()
        except Exception:  # torch raises a dozen kinds for a torn file; each means the same here
            continue
    raise ValueError(f"{folder}: no checkpoint can be opened that has {name}")


def _weights_of_shards(path: Path, *, only: str | None = None) -> dict[str, torch.Tensor]:
    metadata = FileSystemReader(path).read_metadata()
    state: dict[str, Any] = {"model": {}}
    for key, entry in metadata.state_dict_metadata.items():
        if only is not None and key != f"model.{only}":
            continue
        if key.startswith("model.") and isinstance(entry, TensorStorageMetadata):
            state["model"][key.removeprefix("model.")] = torch.empty(entry.size, dtype=entry.properties.dtype)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # it is: this is for one process
        load_shards(state, checkpoint_id=path, no_dist=True)
    return state["model"]
