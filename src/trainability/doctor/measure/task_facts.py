"""What kind of task a pass shows, and outputs that its loss reads in another order than the model means."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.rehearsed import Task
from trainability.doctor.tasks import recognise

# How far from 1 the sum of a row's targets is off: marks are exact, what is measured carries noise.
_OFF_ONE = {"binary_cross_entropy": 1e-3} | dict.fromkeys(("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"), 0.1)
_TOLD_APART = 0.1  # of what the loss as it should be is off
_NO_OBSTACLE = 0.1  # of the targets' variance, that the sums' distance from 1 leaves to no answer


def task_facts(seen: ForwardPass, loss: float) -> dict[str, Any]:
    targets = seen.batch[::-1]
    targets.sort(key=lambda item: "label" not in item[0])
    task = recognise(seen.output, targets, loss)
    negated = recognise(seen.output, targets, -loss) if task.kind == Task().kind and abs(loss) > 1e-3 else Task()
    form, output = task.form, seen.output
    if task.loss == "nll_loss" and output is not None:
        # Log-probabilities have many makers: log_softmax, the logarithm of a softmax, x - logsumexp(x).
        sums = torch.stack([output.detach().float().logsumexp(dim=d).abs().max() for d in {1, output.dim() - 1}])
        form = "log_probabilities" if float(sums.min()) < 0.05 else form
    target = next((tensor for place, tensor in targets if place == task.target), None)
    if task.kind == "regression" and seen.distance is None and target is not None:  # a loss that is written by hand
        told = {"target_rms": float(target.float().square().mean().sqrt()), "target_mean": float(target.float().mean())}
    else:
        told = {}
    return told | {
        "misread_logits": _is_misread(seen, loss),
        "rows_off_one": _rows_off_one(seen, task.loss or (seen.distance[0] if seen.distance is not None else None)),
        "task_loss": task.loss or (seen.distance[0] if seen.distance is not None else None),
        "task_form": form,
        "compares_returned": task.loss is not None or _compares_returned(seen),
        "negated_task": negated.loss if negated.loss != "nll_loss" else None,
    }


def _compares_returned(seen: ForwardPass) -> bool:
    """Whether the first distance takes what the model returned, reshaped at most, and not a residual that is made of it."""
    return seen.distance is not None and seen.distance[1].data_ptr() in {t.data_ptr() for t in seen.returned}


def _is_misread(seen: ForwardPass, loss: float) -> bool:
    """Whether the loss is a cross-entropy after a view in place of a transpose, of (batch, length, classes) or of pixels."""
    output, target = seen.output, seen.target()
    if output is None or target is None or output.dim() < 3 or target.is_floating_point():
        return False
    if target.shape == (len(output), *output.shape[2:]) == output.shape[:-1]:  # as many places as classes: either may be meant
        return False
    if target.shape == (len(output), *output.shape[2:]) and output.shape[1] > 1:
        classes, asked = output.shape[1], target.flatten()
        if not 0 <= int(asked.min()) <= int(asked.max()) < classes:
            return False
        rows = output.detach().double().reshape(-1, classes)
        own = nn.functional.cross_entropy(output.detach().double(), target.long())
        return _is_of(loss, nn.functional.cross_entropy(rows, asked.long()), own)
    if output.dim() != 3 or target.shape != output.shape[:2]:
        return False
    length, classes = output.shape[1:]
    if target.numel() == 0 or int(target.min()) < 0 or int(target.max()) >= classes or min(length, classes) < 2:
        return False
    double = output.detach().double()
    viewed, proper = double.reshape(len(output), classes, length), double.transpose(1, 2)
    losses = (nn.functional.cross_entropy, nn.functional.nll_loss)
    return any(_is_of(loss, cost(viewed, target.long()), cost(proper, target.long())) for cost in losses)


def _is_of(loss: float, misread: Tensor, own: Tensor) -> bool:
    """Whether the loss is that of the outputs as they are misread: of a net at its start the two may be near each other."""
    off = abs(float(misread) - loss)
    return off <= 1e-4 * abs(loss) and off < _TOLD_APART * abs(float(own) - loss) and abs(float(own) - loss) > 1e-6 * abs(loss)


def _rows_off_one(seen: ForwardPass, loss: str | None) -> float | None:
    """Share of rows whose targets are not one mark in all, or do not sum to about 1, though the outputs of a row do."""
    output, target = seen.output, seen.target()
    if loss is None and seen.marked is not None:  # a softmax that is part of the loss
        (loss, output), target = seen.marked, seen.marks
    if loss not in _OFF_ONE or output is None or target is None or output.dim() != 2 or output.shape[1] < 2:
        return None
    if output.shape != target.shape or bool(((output.detach().float().sum(dim=1) - 1).abs() > 1e-3).any()):
        return None
    off = target.float().sum(dim=1) - 1
    if loss != "binary_cross_entropy":
        left = float(off.square().mean()) / target.shape[1]  # squared error of the nearest answers that sum to 1
        if left < _NO_OBSTACLE * float(target.float().var(dim=0).mean()):
            return 0.0
    return float((off.abs() > _OFF_ONE[loss]).float().mean())
