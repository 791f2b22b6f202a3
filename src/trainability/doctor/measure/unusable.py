"""Numbers of an optimizer with which no step can be made: a learning rate that is NaN, infinite or negative, and the like."""

import math
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.measure.copies import optimizers

_NAMES = {"lr": "learning rate", "momentum": "momentum", "weight_decay": "weight_decay", "eps": "eps", "betas": "betas"}
"""Key of a parameter group -> what it is called."""


def unusable_number(optimizer: torch.optim.Optimizer) -> str | None:
    """Find a number of an optimizer's groups that is NaN or infinite, or a negative learning rate: "learning rate is nan".

    Of several groups the one is named, counted from 0 as in `param_groups`. None where all numbers can be used.
    """
    groups = optimizer.param_groups
    for number, group in enumerate(groups):
        for key, name in _NAMES.items():
            for value, place in _numbers(group.get(key)):
                if not math.isfinite(value) or (key == "lr" and value < 0):
                    return f"{name}{place}{f' of param_groups[{number}]' if len(groups) > 1 else ''} is {value:g}"
    return None


def check_numbers_of(optimizer: Any) -> None:
    """Refuse an optimizer, or one of several, with such a number.

    Raises:
        ValueError: one has; the line names it.
    """
    every = optimizers(optimizer)
    for number, each in enumerate(every, start=1):
        if (found := unusable_number(each)) is not None:
            whose = "the optimizer's" if len(every) == 1 else f"optimizer {number}'s"
            raise ValueError(f"{whose} {found}; it must be finite and at least 0")


def _numbers(value: Any) -> list[tuple[float, str]]:
    """What a group holds under one key, tensors of one number included, each with its place; nothing of what is no number."""
    if isinstance(value, tuple | list):
        return [(number, f"[{place}]") for place, item in enumerate(value) for number, _ in _numbers(item)]
    is_number = isinstance(value, int | float) or (isinstance(value, Tensor) and value.numel() == 1)
    return [(float(value), "")] if is_number and not isinstance(value, bool) else []
