"""A class that a loss refused, found where the error of a script arose: PyTorch names the class, and not the outputs."""

from __future__ import annotations

import traceback
from typing import Any, NamedTuple

import torch
from torch import Tensor

_LOSSES = ("cross_entropy", "nll_loss")


class RefusedLabel(NamedTuple):
    """What the loss was given.

    Attributes:
        function: of `torch.nn.functional`.
        label: the first one that is no class.
        num_outputs: classes that there are outputs for.
        outputs: what the loss got.
    """

    function: str
    label: int
    num_outputs: int
    outputs: Tensor


def refused_label(error: BaseException) -> RefusedLabel | None:
    """The label that an error of `cross_entropy` or `nll_loss` is about; None of any other error.

    Labels on a GPU cannot be read any more once they have stopped it.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_globals.get("__name__") != torch.nn.functional.__name__ or frame.f_code.co_name not in _LOSSES:
            continue
        if (found := _refused(frame.f_code.co_name, frame.f_locals)) is not None:
            return found
    return None


def _refused(function: str, given: dict[str, Any]) -> RefusedLabel | None:
    outputs, labels = given.get("input"), given.get("target")
    if not isinstance(outputs, Tensor) or not isinstance(labels, Tensor) or not outputs.dim():
        return None
    if labels.device.type != "cpu" or labels.is_floating_point():
        return None
    num_outputs = outputs.shape[1 if outputs.dim() > 1 else 0]  # (batch, classes, ...), or (classes,) of one example
    wrong = labels[((labels < 0) | (labels >= num_outputs)) & (labels != given.get("ignore_index"))]
    return RefusedLabel(function, int(wrong[0]), num_outputs, outputs) if wrong.numel() else None
