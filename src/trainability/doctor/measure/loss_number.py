"""The number in what a training step or the body of a loop returned."""

from typing import Any

import torch
from torch import Tensor


def scalar(value: Any) -> Tensor:
    """The loss in what a training step returned: a number, an object or dict with one under "loss", or parts to be added."""
    if isinstance(value, Tensor):
        return value.sum() if value.numel() > 1 else value.reshape(())
    inner = value.get("loss") if isinstance(value, dict) else getattr(value, "loss", None)
    if inner is not None:
        return scalar(inner)
    parts = list(value.values()) if isinstance(value, dict) else list(value) if isinstance(value, tuple | list) else [value]
    numbers = [part if isinstance(part, Tensor) else torch.tensor(float(part)) for part in parts if part is not None]
    return torch.stack([scalar(number).float() for number in numbers]).sum()


def loss_as_float(value: Any) -> float | None:
    """The same as a number of Python; None where nothing was returned."""
    return float(value) if isinstance(value, int | float) else None if value is None else float(scalar(value).detach())
