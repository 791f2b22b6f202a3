"""Which losses belong to which optimizer's step, where the loop is somebody else's and only its events are seen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.loops.monitor import Monitor


class Follower:
    """Hands the losses of backward passes to the monitor of the optimizer that steps after them.

    A loss belongs to the next step, whichever optimizer makes it; where several step on one loss, it belongs to each.

    Args:
        is_eager: take the gradients right after a backward pass where the last two steps had one pass each and there is one
            optimizer: what the loop does to them before its step (clipping, clearing) is seen. Where a trainer tells when its
            gradients are complete, that is the better moment.

    Attributes:
        is_eager: as it was given; to be set to False where there are optimizers without a monitor.
        monitors: by `id` of the optimizer.
        num_steps: completed sets of gradients.
        scaler: the loss scaler through which the last loss went, if any.
    """

    def __init__(self, *, is_eager: bool = False) -> None:
        self.is_eager, self._passes = is_eager, (0, 0)  # backward passes of the last two steps
        self.monitors: dict[int, Monitor] = {}
        self.num_steps = 0
        self.scaler: Any = None
        self._is_divided = False
        self._was_cleared = self._clears_between = False  # between backward pass and step; and then another pass
        self._sharing: set[int] = set()  # optimizers that have stepped on a loss on which another had
        self._begun: set[int] = set()
        self._completed: set[int] = set()  # optimizers whose gradients are complete, and that have not stepped since
        self._served: set[int] = set()  # optimizers that have been given the losses of the last backward passes
        self._losses: list[Tensor] = []
        self._last: list[Tensor] = []

    @property
    def is_waiting(self) -> bool:
        """Whether there are losses whose step has not come."""
        return bool(self._losses)

    @property
    def awaits_step(self) -> bool:
        """Whether a backward pass was made since the last step."""
        return bool(self._losses or self._completed)

    def backward(self, loss: Tensor, scaler: Any = None, *, is_divided: bool = False) -> None:
        """A backward pass is over.

        Args:
            loss: not scaled.
            scaler: `torch.amp.GradScaler` that scaled it for the pass.
            is_divided: whether it is a part of a mean over the step's passes.
        """
        self.scaler, self._is_divided = scaler, is_divided
        self._completed.clear()
        self._served.clear()
        self._clears_between |= self._was_cleared
        # The graph of each monitor's first loss tells how the model was used, and one of a sampled step in which the model did
        # not run, what was used in its place; the others would only keep memory.
        is_asked = len(self._begun) < max(len(self.monitors), 1) or any(m.awaits_model for m in self.monitors.values())
        self._losses.append(loss if is_asked and not self._losses else loss.detach())
        if (
            self.is_eager
            and not self._clears_between
            and self._passes == (1, 1)
            and len(self.monitors) == len(self._begun) == 1
        ):
            (monitor,) = self.monitors.values()
            self.complete(monitor.optimizer)

    def complete(self, optimizer: Any, *, factor: float | None = None) -> None:
        """The gradients of an optimizer's step are complete, and not clipped yet.

        Args:
            optimizer: whose step follows, or is under way and runs its closure.
            factor: by which each loss was divided. `None` takes the number of backward passes where the last loss was divided,
                and 1 elsewhere.
        """
        monitor = self.monitors.get(id(optimizer))
        losses = self._losses or self._last
        if not self._losses:
            self._sharing.add(id(optimizer))
        if not losses:
            return
        if monitor is None:  # its model is not found yet
            self._last, self._losses = [loss.detach() for loss in losses], []
            return
        if not self._losses and id(optimizer) in self._served and monitor.awaits_model:
            return  # a step on gradients that it has stepped on, as a line search makes: nothing ran that could be looked at
        self._served.add(id(optimizer))
        self._passes = (self._passes[1], len(losses))
        by = (len(losses) if self._is_divided else 1) if factor is None else factor
        scale = _scale_on(optimizer, self.scaler)
        for place, loss in enumerate(losses, start=1):
            monitor.after_backward(loss if by == 1 else loss * by, is_last=place == len(losses), grad_scale=scale)
        self._last, self._losses = [loss.detach() for loss in losses], []
        self._completed.add(id(optimizer))
        self._begun.add(id(optimizer))
        self.num_steps += 1

    def clearing(self, optimizer: Any) -> None:
        """Gradients are about to be cleared between a backward pass and the step that is to come.

        It is not in a loop that once went backward again before its step, as for adversarial examples: there what is cleared
        has no part in the step, and neither have its losses.
        """
        if self._clears_between:
            self._losses = []
            return
        if self._losses:
            self.complete(optimizer)
        self._was_cleared = True

    def stepping(self, optimizer: Any, *, factor: float | None = None) -> None:
        """An optimizer begins its step; what was complete before it stays as it was then."""
        if id(optimizer) not in self._completed:
            self.complete(optimizer, factor=factor)
        self._completed.discard(id(optimizer))
        self._was_cleared = False

    def stepped(self, optimizer: Any) -> None:
        """An optimizer's step is over: its loss may have gone through other networks (a GAN's critic), and is not theirs."""
        for key, monitor in self.monitors.items():
            if key != id(optimizer) and key in self._begun and key not in self._sharing:
                monitor.forget_other_step()


def _scale_on(optimizer: Any, scaler: Any) -> Tensor | float | None:
    """Factor that a loss scaler has put on an optimizer's gradients and not taken off; `None` without a scaler."""
    if scaler is None:
        return None
    stage = scaler._per_optimizer_states[id(optimizer)]["stage"]
    scale = scaler._scale if stage.name == "READY" else None
    return 1.0 if scale is None else scale.clone()


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
