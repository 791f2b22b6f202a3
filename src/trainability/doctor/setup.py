"""What is to be looked at: somebody's model, loaders, loss, optimizer and metric."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A training that has not begun; the function that `trainability check MODULE:FUNCTION` calls returns one.

    Attributes:
        model: takes a batch of images, returns logits or whatever `loss_fn` takes.
        train_loader: yields (images, labels), as the loop will see them.
        loss_fn: of (output, labels), one number.
        val_loader: as `train_loader`; `None` if there is none.
        optimizer: over the model's parameters; `None` leaves out update ratios and the predicted plateau.
        metric: see `audit_metric`; `None` leaves it out.
        num_classes: of the task.
        clip: gradient-norm threshold of the loop; `None` for no clipping.
        planned_steps: updates of the whole run.

    Raises:
        ValueError: `model` is no module or has weights without values, a loader cannot be iterated over, `loss_fn` cannot be
            called, or a number is below what it may be.
    """

    model: nn.Module
    train_loader: Iterable[Any]
    loss_fn: Callable[[Any, Tensor], Tensor] = F.cross_entropy
    val_loader: Iterable[Any] | None = None
    optimizer: torch.optim.Optimizer | None = None
    metric: Any = None
    num_classes: int | None = None
    clip: float | None = None
    planned_steps: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.model, nn.Module):
            raise ValueError(f"model is a {type(self.model).__name__}; expected a torch.nn.Module")
        if any(parameter.is_meta for parameter in self.model.parameters()):
            raise ValueError("model is on the meta device, where weights have no values; build it on cpu or cuda")
        for name in ("train_loader", "val_loader"):
            if (value := getattr(self, name)) is not None and not isinstance(value, Iterable):
                raise ValueError(f"{name} is a {type(value).__name__}; expected an iterable of (images, labels)")
        if not callable(self.loss_fn):
            raise ValueError(f"loss_fn is a {type(self.loss_fn).__name__}; expected a function of (output, labels)")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip is {self.clip}; expected a gradient norm above 0, or None for no clipping")
        for name in ("num_classes", "planned_steps"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} is {value}; expected at least 1, or None if it is not known")
