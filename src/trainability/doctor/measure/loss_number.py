"""The number in what a training step or the body of a loop returned."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.randomness import randomness_restored, seed_torch


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


def seeded_loss(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], seed: int = 0) -> float:
    """The loss of a batch with the same random numbers each time; of a loss of several numbers, their sum.

    Args:
        model: runs as it is; the caller puts modes and buffers back.
        batch: of any structure.
        forward: of (model, batch), the loss.
        seed: of PyTorch's generators, whose states are put back.
    """
    with torch.enable_grad(), randomness_restored():
        seed_torch(seed)
        return float(forward(model, batch).detach().sum())
