"""Checkpoints that a kill cannot tear, and what is left of a run when one has been torn all the same.

A checkpoint is written under another name, flushed to the disk, and renamed: a name that counts is always whole. It carries
the checksum of all its bytes, and which run and step it is of, so that a damaged, renamed or foreign one is not taken. All
random draws are functions of (seed, epoch, position) (`keyed`), so a checkpoint holds weights, momentum, and where the run is.
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


def save(
    folder: Path,
    position: Position,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    engine: Engine,
    identity: Mapping[str, str],
) -> Path | None:
    """Write a checkpoint, and delete older ones but for the last two and the best.

    Args:
        folder: the run's `checkpoints/`.
        position: where the run is.
        model: on any device, not wrapped.
        optimizer: of its parameters.
        engine: only the main process writes, or all of them where the network is sharded.
        identity: of the run (`same_run.identity`).

    Returns:
        The checkpoint; `None` in processes that do not write.

    Raises:
        OSError: it cannot be written; the older ones are as they were.
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
            torch.save(state, sealing)  # type: ignore[arg-type]  # all that it asks for is `write`
            sealing.seal()
    except RuntimeError as error:
        # torch says "unexpected pos" to a write that failed; why it failed, the system has said before.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def _save_sharded(
    path: Path, facts: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer, engine: Engine
) -> None:
    partial = path.with_name(path.name + whole.PARTIAL)  # of all processes together
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
    """List a run's checkpoints, whole but perhaps damaged later, as (step, path), the newest first."""
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


def load_latest(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, engine: Engine, identity: Mapping[str, str]
) -> Loaded | None:
    """Restore the newest checkpoint that can be read and is the run's own; every process reads it.

    Args:
        folder: the run's `checkpoints/`.
        model: restored in place, not wrapped.
        optimizer: restored in place.
        engine: decides the form.
        identity: of the run (`same_run.identity`).

    Returns:
        What was read; `None` where there is no checkpoint yet.

    Raises:
        ValueError: there are checkpoints and none can be read.
    """
    skipped: list[str] = []
    for step, path in checkpoints(folder):
        try:
            load = _load_sharded if path.is_dir() else _load_whole
            position = load(path, step, model, optimizer, engine, identity)
            return Loaded(position=position, path=path, skipped=skipped)
        except Exception as error:  # torch raises a dozen kinds for a damaged file; each means the same here
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
    # How an update is computed belongs to this process, not to the one that wrote the file: a fused kernel takes no shares.
    fused = optimizer.defaults.get("fused")
    optimizer.load_state_dict(state["optimizer"])
    for group in optimizer.param_groups:
        group["fused"] = fused
    return position


def _read(path: Path, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint file whose every byte is as it was written.

    Raises:
        ValueError: the checksum is wrong, or there is none. torch does not look at the checksums that it writes.
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
    """Take a checkpoint's position, if it is of the run and of the step that its name says.

    Raises:
        ValueError: it is not.
    """
    state = facts["position"]
    if state["step"] != step:
        raise ValueError(f"it was written after step {state['step']}, and renamed")
    for field_name, value in facts["identity"].items():
        if field_name in identity and identity[field_name] != value:
            raise ValueError(f"it is of another run: its {field_name} is {value}, this run's is {identity[field_name]}")
    # Checkpoints from before the schedule could watch another error have none of their own: it was the top-1 error.
    plateau = Plateau(**{"best_watched": state["plateau"]["best_error"], **state["plateau"]})
    return Position(**{**state, "plateau": plateau, "sums": EpochSums(**state["sums"])})


def load_weights(folder: Path, identity: Mapping[str, str], *, step: int | None = None) -> dict[str, torch.Tensor]:
    """Read the weights of a run on the CPU, without its optimizer.

    Args:
        folder: the run's `checkpoints/`.
        identity: of the run (`same_run.identity`).
        step: which checkpoint; the newest by default.

    Raises:
        ValueError: there is none, it is damaged, or of another run.
    """
    for number, path in checkpoints(folder):
        if step is None or number == step:
            try:
                return _weights(path, number, identity)
            except Exception as error:  # as in `load_latest`
                raise ValueError(f"{path} cannot be read ({_reason(error)}); resume its run to write it anew") from None
    raise ValueError(f"{folder}: no checkpoint" + ("" if step is None else f" of step {step}") + " to take weights from")


def _weights(path: Path, step: int, identity: Mapping[str, str], *, only: str | None = None) -> dict[str, torch.Tensor]:
    """Read the weights of a checkpoint, or one of them."""
    if path.is_dir():
        values = shards.read(path)
        _checked(values["facts"], step, identity)
        shards.check_files(path, values)
        return shards.weights(path, values, only=only)
    seal.check_seal(path)
    # Mapped, not read: where one tensor of a gigabyte is wanted, the others take no memory.
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    _checked(state, step, identity)
    return {name: tensor.clone() for name, tensor in state["model"].items() if only in (None, name)}


def load_tensor(folder: Path, name: str, identity: Mapping[str, str]) -> tuple[int, torch.Tensor]:
    """Read one tensor of a run's weights, from the newest checkpoint that can be read.

    Args:
        folder: the run's `checkpoints/`.
        name: as in the network's `state_dict()`.
        identity: of the run (`same_run.identity`).

    Returns:
        Updates that the checkpoint has, and the tensor on the CPU.

    Raises:
        ValueError: there is no checkpoint that can be read, or it has no such tensor.
    """
    found = checkpoints(folder)
    if not found:
        raise ValueError(f"{folder} has no checkpoint")
    for step, path in found:
        try:
            return step, _weights(path, step, identity, only=name)[name]
        except Exception:  # as in `load_latest`
            continue
    raise ValueError(f"{folder}: no checkpoint can be read that has {name}")
