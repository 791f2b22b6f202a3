"""The loss of other answers than the model's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import map_parts, tensors
from trainability.doctor.measure.randomness import randomness_restored

Forward = Callable[[Any, Any], Tensor]


def returned_once(model: nn.Module, batch: Any, forward: Forward, head: nn.Module | None = None) -> list[Tensor] | None:
    """All tensors that a model returns, or a module `head` of it, of a program that calls it once; None of any other."""
    outputs: list[Any] = []
    handle = (head or model).register_forward_hook(lambda module, args, output: outputs.append(output))
    try:
        with torch.enable_grad(), randomness_restored():  # a loss may differentiate by itself
            torch.manual_seed(0)
            forward(model, batch)
    finally:
        handle.remove()
    return [t.detach() for _, t in tensors(outputs[0])] if len(outputs) == 1 else None


def loss_of(model: nn.Module, batch: Any, forward: Forward, answers: Sequence[Tensor], head: nn.Module | None = None) -> Tensor:
    """The loss with other tensors in the place of those that a module returns in one call, in their order.

    Args:
        model: what the loss is asked of.
        batch: what it is asked.
        forward: of (model, batch), the loss.
        answers: as many as the module returns.
        head: the module, which is called once, and whose forward runs all the same; None for the model itself.
    """
    rest = iter(answers)

    def swap(part: Any) -> Any:
        return next(rest) if isinstance(part, Tensor) else map_parts(part, swap)

    handle = (head or model).register_forward_hook(lambda module, args, output: swap(output))
    try:
        with torch.enable_grad(), randomness_restored():
            torch.manual_seed(0)
            return forward(model, batch).sum()
    finally:
        handle.remove()


def pull(
    model: nn.Module,
    batch: Any,
    forward: Forward,
    answers: Sequence[Tensor],
    *,
    place: int = 0,
    head: nn.Module | None = None,
) -> Tensor | None:
    """The gradient of the loss at one of other answers, see `loss_of`; None where there is none, or it is not finite."""
    points = answers[place].detach().clone().requires_grad_()
    loss = loss_of(model, batch, forward, [points if k == place else t for k, t in enumerate(answers)], head)
    gradient = torch.autograd.grad(loss, points, allow_unused=True)[0] if loss.requires_grad else None
    return gradient if gradient is not None and bool(gradient.isfinite().all()) else None


def exchanged(batch: Any, tensor: Tensor, other: Tensor) -> Any:
    """The batch with another tensor in the place of one of its own."""

    def change(part: Any) -> Any:
        return other if part is tensor else part if isinstance(part, Tensor) else map_parts(part, change)

    return change(batch)
