"""Write checkpoints atomically, and read the newest intact one.

A checkpoint is written under a temporary name, flushed to the disk, and renamed, so that a killed process leaves no incomplete
one. It contains the checksum of its bytes, its run and its step, so that a damaged or renamed one, or one of another run, is
not loaded. All random draws are functions of (seed, epoch, position) (`keyed`), so a checkpoint holds only weights, momentum
and the run's position.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from trainability.disk import seal, whole
from trainability.training import shards
from trainability.training.engine import Engine
from trainability.training.schedule import Plateau

_NAME = re.compile(r"step-(\d{9})(\.pt)?")
NUM_KEPT = 2


@dataclass(frozen=True, kw_only=True)
class EpochSums:
    """Sums over the training examples of the epoch so far; see `tally.StepSums`."""

    loss_sum: float = 0.0
    top1_correct: float = 0.0
    top5_correct: float = 0.0
    num_examples: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Position:
    """The position of a run.

    Attributes:
        step: updates done.
        epoch: epochs done, including their evaluation.
        step_in_epoch: updates done in the current epoch.
        plateau: state of the schedule.
        sums: of the current epoch.
    """

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    plateau: Plateau = field(default_factory=Plateau)
    sums: EpochSums = field(default_factory=EpochSums)


def save(
    folder: Path,
    position: Position,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    engine: Engine,
    identity: Mapping[str, str],
) -> Path | None:
    """Write a checkpoint, and delete all older ones except the last two and the best.

    Args:
        folder: the run's `checkpoints/`.
        position: of the run.
        model: on any device, not wrapped.
        optimizer: of its parameters.
        engine: the main process writes, or, if the network is sharded, all processes.
        identity: of the run (`same_run.identity`).

    Returns:
        Path of the checkpoint; `None` in processes that do not write.

    Raises:
        OSError: it cannot be written; the older ones are unchanged.
    """
    name = f"step-{position.step:09d}"
    facts = {"position": dataclasses.asdict(position), "identity": dict(identity)}
    if engine.is_sharded:
        final = folder / name
        _save_sharded(final, facts, model, optimizer, engine)
    else:
        if not engine.is_main:
            return None
        final = folder / f"{name}.pt"
        _save_whole(final, {**facts, "model": model.state_dict(), "optimizer": optimizer.state_dict()})
    if engine.is_main:
        _prune(folder, best_step=position.plateau.best_step)
    if engine.is_sharded:
        engine.barrier()
    return final


def _save_whole(path: Path, state: dict[str, Any]) -> None:
    try:
        with whole.replacing(path) as file:
            sealing = seal.Sealing(file)
            torch.save(state, sealing)  # type: ignore[arg-type]  # `write` is all that it needs
            sealing.seal()
    except RuntimeError as error:
        # For a failed write torch raises "unexpected pos"; the reason is in the system's error before it.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def _save_sharded(
    path: Path, facts: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer, engine: Engine
) -> None:
    partial = path.with_name(path.name + whole.PARTIAL)  # the same in all processes
    weights, moments = get_state_dict(model, optimizer)
    if engine.is_main:
        shutil.rmtree(partial, ignore_errors=True)
    engine.barrier()
    shards.save(partial, {"model": weights, "optimizer": moments}, facts, engine)
    if engine.is_main:
        if path.is_dir():
            shutil.rmtree(path)
        partial.replace(path)
        whole.sync_folder(path.parent)


def _prune(folder: Path, *, best_step: int) -> None:
    kept = {step for step, _ in checkpoints(folder)[:NUM_KEPT]} | {best_step}
    for step, path in checkpoints(folder):
        if step not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """List a run's checkpoints as (step, path), the newest first; all were written completely, but may be damaged since."""
    if not folder.is_dir():
        return []
    found = [(int(match[1]), path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return sorted(found, reverse=True)


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A loaded checkpoint.

    Attributes:
        position: of the run.
        path: of the checkpoint.
        skipped: one line per newer checkpoint that could not be read.
    """

    position: Position
    path: Path
    skipped: list[str]


def load_latest(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, engine: Engine, identity: Mapping[str, str]
) -> Loaded | None:
    """Restore the newest readable checkpoint of this run; every process reads it.

    Args:
        folder: the run's `checkpoints/`.
        model: restored in place, not wrapped.
        optimizer: restored in place.
        engine: decides the format.
        identity: of the run (`same_run.identity`).

    Returns:
        The checkpoint; `None` if there is none yet.

    Raises:
        ValueError: there are checkpoints, but none can be read.
    """
    skipped: list[str] = []
    for step, path in checkpoints(folder):
        try:
            load = _load_sharded if path.is_dir() else _load_whole
            position = load(path, step, model, optimizer, engine, identity)
            return Loaded(position=position, path=path, skipped=skipped)
        except Exception as error:  # torch raises many types for damaged files; all are handled alike
            skipped.append(f"{path.name} cannot be read ({_reason(error)})")
    if skipped:
        raise ValueError(f"{folder}: no checkpoint can be read: " + "; ".join(skipped))
    return None


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]


def _load_whole(
    path: Path,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    engine: Engine,
    identity: Mapping[str, str],
) -> Position:
    state = _read(path, engine.device)
    position = _checked(state, step, identity)
    model.load_state_dict(state["model"])
    # How to compute an update is this process's choice, not the checkpoint's: a fused kernel does not take sharded tensors.
    fused = optimizer.defaults.get("fused")
    optimizer.load_state_dict(state["optimizer"])
    for group in optimizer.param_groups:
        group["fused"] = fused
    return position


def _read(path: Path, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint file after verifying its checksum.

    Raises:
        ValueError: the checksum is wrong or missing. torch does not verify the checksums that it writes.
    """
    seal.check_seal(path)
    return torch.load(path, map_location=device, weights_only=True)


def _load_sharded(
    path: Path,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    engine: Engine,
    identity: Mapping[str, str],
) -> Position:
    values = shards.read(path)
    position = _checked(values["facts"], step, identity)
    shards.check_files(path, values, engine)
    weights, moments = get_state_dict(model, optimizer)
    state = {"model": weights, "optimizer": moments}
    shards.load(path, state, values)
    fused = optimizer.defaults.get("fused")
    set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
    for group in optimizer.param_groups:
        group["fused"] = fused
    return position


def _checked(facts: Mapping[str, Any], step: int, identity: Mapping[str, str]) -> Position:
    """Return a checkpoint's position after checking that run and step match.

    Raises:
        ValueError: they do not match.
    """
    state = facts["position"]
    if state["step"] != step:
        raise ValueError(f"it was written after step {state['step']}, and renamed")
    for field_name, value in facts["identity"].items():
        if field_name in identity and identity[field_name] != value:
            raise ValueError(f"it is of another run: its {field_name} is {value}, this run's is {identity[field_name]}")
    # Older checkpoints, from when the schedule could only watch the top-1 error, do not contain this value.
    plateau = Plateau(**{"best_watched": state["plateau"]["best_error"], **state["plateau"]})
    return Position(**{**state, "plateau": plateau, "sums": EpochSums(**state["sums"])})


def load_weights(folder: Path, identity: Mapping[str, str], *, step: int | None = None) -> dict[str, torch.Tensor]:
    """Read the weights of a run to the CPU, without the optimizer's state.

    Args:
        folder: the run's `checkpoints/`.
        identity: of the run (`same_run.identity`).
        step: of the checkpoint; the newest by default.

    Raises:
        ValueError: there is none, it is damaged, or of another run.
    """
    for number, path in checkpoints(folder):
        if step is None or number == step:
            try:
                return _weights(path, number, identity)
            except Exception as error:  # as in `load_latest`
                raise ValueError(f"{path} cannot be read ({_reason(error)}); resume its run to write it again") from None
    raise ValueError(f"{folder}: no checkpoint" + ("" if step is None else f" of step {step}") + " to load weights from")


def _weights(path: Path, step: int, identity: Mapping[str, str], *, only: str | None = None) -> dict[str, torch.Tensor]:
    """Read the weights of a checkpoint, or only one tensor."""
    if path.is_dir():
        values = shards.read(path)
        _checked(values["facts"], step, identity)
        shards.check_files(path, values)
        return shards.weights(path, values, only=only)
    seal.check_seal(path)
    # Memory-mapped: to load one tensor of a file of gigabytes, the others take no memory.
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    _checked(state, step, identity)
    return {name: tensor.clone() for name, tensor in state["model"].items() if only in (None, name)}


def load_tensor(folder: Path, name: str, identity: Mapping[str, str]) -> tuple[int, torch.Tensor]:
    """Read one tensor of a run's weights from the newest readable checkpoint.

    Args:
        folder: the run's `checkpoints/`.
        name: as in the network's `state_dict()`.
        identity: of the run (`same_run.identity`).

    Returns:
        Step of the checkpoint, and the tensor on the CPU.

    Raises:
        ValueError: there is no readable checkpoint, or it has no such tensor.
    """
    found = checkpoints(folder)
    if not found:
        raise ValueError(f"{folder} has no checkpoint")
    for step, path in found:
        try:
            return step, _weights(path, step, identity, only=name)[name]
        except Exception:  # as in `load_latest`
            continue
    raise ValueError(f"{folder}: no readable checkpoint has {name}")
