"""Which losses belong to which optimizer's step, where the loop is somebody else's and only its events are seen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.monitor import Monitor


class Follower:
    """Hands the losses of backward passes to the monitor of the optimizer that steps after them.

    A loss belongs to the next step, whichever optimizer makes it; where several step on one loss, it belongs to each.

    Attributes:
        monitors: by `id` of the optimizer.
        num_steps: completed sets of gradients.
    """

    def __init__(self) -> None:
        self.monitors: dict[int, Monitor] = {}
        self.num_steps = 0
        self._losses: list[Tensor] = []
        self._last: list[Tensor] = []

    @property
    def is_waiting(self) -> bool:
        """Whether there are losses whose step has not come."""
        return bool(self._losses)

    def backward(self, loss: Tensor) -> None:
        """A backward pass is over."""
        # The graph of the first loss tells how the model was used; the later ones would only keep memory.
        self._losses.append(loss if self.num_steps == 0 and not self._losses else loss.detach())

    def complete(
        self, optimizer: Any, *, factor: float | None = None, grad_scale: Tensor | float | None = None
    ) -> Monitor | None:
        """The gradients of an optimizer's step are complete, and not clipped yet.

        Args:
            optimizer: whose step follows, or is under way and runs its closure.
            factor: by which each loss was divided; `None` takes the number of backward passes: a sum over them is the mean.
            grad_scale: factor of a loss scaler that is still on the gradients.

        Returns:
            Its monitor; `None` if it has none, or no backward pass has been seen.
        """
        monitor = self.monitors.get(id(optimizer))
        losses = self._losses or self._last
        if monitor is None or not losses:
            return None
        by = len(losses) if factor is None else factor
        for loss in losses:
            monitor.after_backward(loss if by == 1 else loss * by, is_last=False)
        monitor.gradients_complete(grad_scale=grad_scale)
        self._last, self._losses = [loss.detach() for loss in losses], []
        self.num_steps += 1
        return monitor


def parts_of(model: nn.Module, optimizers: Iterable[torch.optim.Optimizer]) -> list[tuple[str, nn.Module]]:
    """For each optimizer, the part of a model whose parameters it holds, with a name.

    Args:
        model: may hold losses and metrics beside the networks.
        optimizers: in any order.

    Returns:
        By optimizer: where one child of the model has all its parameters, that child and its name; where several have, these
        together; else the whole model, called "model". A sole optimizer's part is called "model" too.
    """
    found = []
    given = list(optimizers)
    for optimizer in given:
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        children = {name: child for name, child in model.named_children() if any(id(p) in held for p in child.parameters())}
        covered = {id(p) for child in children.values() for p in child.parameters()}
        if not held <= covered or not children:
            found.append(("model", model))
        elif len(children) == 1:
            ((name, child),) = children.items()
            found.append((name if len(given) > 1 else "model", child))
        elif len(given) == 1:
            found.append(("model", model))
        else:
            found.append(("+".join(children), nn.ModuleDict(children)))
    return found
