"""A loop that goes on with another network than the watched one, while the optimizer still holds the watched one's weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trainability.doctor.measure.graph import held_by_any_optimizer, parameters_behind


class PassedBy:
    """Finds a loss of parameters that no optimizer holds, on which an optimizer steps that has no gradient at all.

    An inner loop that copies a network and steps it by hand is not mistaken for it: the outer optimizer that follows is given
    gradients.

    Args:
        optimizer: that steps; None if unknown, and then nothing is found.

    Attributes:
        num_parameters: that the loss depends on and no optimizer holds; None where it is not so.
    """

    def __init__(self, optimizer: torch.optim.Optimizer | None) -> None:
        self.num_parameters: int | None = None
        self._optimizer = optimizer
        self._reached: Sequence[Tensor] = ()

    def take(self, loss: Tensor | float, *, is_stepping: bool) -> None:
        """Take the loss of a step in which the watched model was not called, after `backward`.

        Args:
            loss: with its graph.
            is_stepping: whether the optimizer's step has begun, so that `stepping` has been called.
        """
        if self._optimizer is not None and self.num_parameters is None and isinstance(loss, Tensor):
            held = held_by_any_optimizer()
            reached = [p for p in parameters_behind(loss) if p.grad is not None]
            self._reached = () if any(id(p) in held for p in reached) else reached
            if is_stepping:
                self.stepping()

    def stepping(self) -> None:
        """The optimizer is about to step: its gradients are complete."""
        if self._reached and self._optimizer is not None:
            own = [p for group in self._optimizer.param_groups for p in group["params"]]
            if not any(p.grad is not None and bool(p.grad.any()) for p in own):
                self.num_parameters = len(self._reached)
        self._reached = ()
