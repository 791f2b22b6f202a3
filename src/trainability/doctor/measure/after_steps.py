"""What the copy that was rehearsed is asked once its steps are made: the rate to come, and what it says of validation."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.audit_results import LabelsCompared
from trainability.doctor.batches import tensors, to_device
from trainability.doctor.measure.class_signal import compared_labels
from trainability.doctor.measure.exits import loss_or_exit
from trainability.doctor.measure.loop import Loop
from trainability.doctor.measure.randomness import generators_restored
from trainability.doctor.measure.rate_ahead import schedule_ahead, schedule_ends
from trainability.doctor.rehearsed import Task

_MOST_EXAMPLES, _MOST_SECONDS = 2048, 1.5  # of each part


def after_steps(
    loop: Loop, seen: dict[str, Any], planned: int | None, batches: Iterable[Any], held_out: Iterable[Any] | None
) -> dict[str, Any]:
    """Fields of `Rehearsal` that are asked after the last step.

    Args:
        loop: whose copy was stepped.
        seen: what the steps showed.
        planned: length of the run.
        batches: of the training loader.
        held_out: of validation; None leaves out what is about it.
    """
    schedulers = (loop.scheduler, *loop.others)
    # A scheduler that no body steps may be stepped after each epoch.
    ends = schedule_ends(schedulers, len(seen["steps"]), planned) if loop.step is not None else None
    found = schedule_ahead(schedulers, loop.optimizers, seen["steps"], planned, batches) | {"schedule_ends": ends}
    with contextlib.suppress(Exception):  # batches of validation may be of another form
        if held_out is not None and seen["steps"] and not isinstance(batches, Iterator):
            found["labels_compared"] = answers_compared(loop, seen["task"], batches, held_out)
    return found


def answers_compared(loop: Loop, task: Task, batches: Iterable[Any], held_out: Iterable[Any]) -> LabelsCompared | None:
    """Fit classes on the net's outputs for training, and ask about validation.

    Args:
        loop: its copy has learned something.
        task: that was recognised; of other kinds than one class an example nothing is asked.
        batches: of the training loader.
        held_out: of validation.
    """
    if not task.target or loop.opposed:
        return None
    first = _outputs(loop, batches, task.target)
    second = _outputs(loop, held_out, task.target) if first is not None else None
    return compared_labels(first, second) if first is not None and second is not None else None


def _outputs(loop: Loop, batches: Iterable[Any], target: str) -> tuple[Tensor, Tensor] | None:
    outputs: list[Tensor] = []
    classes: list[Tensor] = []
    began, read = time.monotonic(), 0
    with generators_restored(batches):
        for batch in batches:
            loop.output = None
            loss_or_exit(partial(loop.loss, to_device(batch, loop.device), afresh=True))
            labels, output = dict(tensors(batch)).get(target), loop.output
            if labels is None or output is None or labels.is_floating_point() or labels.numel() != len(labels):
                return None
            if output.dim() != 2 or len(output) != len(labels) or not output.is_floating_point() or int(labels.min()) < 0:
                return None
            if bool(torch.isfinite(output).all()):
                outputs.append(output.detach().float().cpu())
                classes.append(labels.detach().cpu().reshape(-1).long())
            read += len(labels)
            if read >= _MOST_EXAMPLES or time.monotonic() - began > _MOST_SECONDS:
                break
    return (torch.cat(outputs), torch.cat(classes)) if outputs else None
