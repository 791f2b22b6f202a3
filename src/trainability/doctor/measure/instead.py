"""The loss of other answers than the model's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import map_parts, tensors
from trainability.doctor.measure.randomness import randomness_restored, seed_torch

Forward = Callable[[Any, Any], Tensor]


@dataclass(frozen=True, kw_only=True)
class Returned:
    """What a module returns in a program that calls it once.

    Attributes:
        module: the one.
        kept: what it returned, of any structure.
        tensors: all tensors in it, without their graphs.
    """

    module: nn.Module
    kept: Any
    tensors: list[Tensor]


def returned_once(
    model: nn.Module, batch: Any, forward: Forward, head: nn.Module | None = None, *, may_repeat: bool = False
) -> Returned | None:
    """What the model returns, or a module `head` of it; None where it is not called exactly once.

    Args:
        model: runs as it is.
        batch: what it is asked.
        forward: of (model, batch), the loss.
        head: None for the model itself.
        may_repeat: whether it may be called more often, where it returns one tensor of the same shape each time.
    """
    outputs: list[Any] = []
    module = head or model
    handle = module.register_forward_hook(lambda module, args, output: outputs.append(output))
    try:
        with torch.enable_grad(), randomness_restored():  # a loss may differentiate by itself
            seed_torch(0)
            forward(model, batch)
    finally:
        handle.remove()
    shapes = {tuple(each.shape) if isinstance(each, Tensor) else None for each in outputs}
    if len(outputs) != 1 and not (may_repeat and len(shapes) == 1 and None not in shapes):
        return None
    return Returned(module=module, kept=outputs[0], tensors=[t.detach() for _, t in tensors(outputs[0])])


def loss_of(model: nn.Module, batch: Any, forward: Forward, own: Returned, answers: Sequence[Tensor]) -> Tensor:
    """The loss with other tensors in the place of those that the module returned, in their order; the module does not run."""
    rest = iter(answers)

    def swap(part: Any) -> Any:
        return _laid_out(next(rest), part) if isinstance(part, Tensor) else map_parts(part, swap)

    module = own.module
    with torch.enable_grad():
        changed = swap(own.kept)
    plain = vars(module).get("forward")
    module.forward = lambda *args, **kwargs: changed  # type: ignore[method-assign]
    try:
        with torch.enable_grad(), randomness_restored():
            seed_torch(0)
            return forward(model, batch).sum()
    finally:
        del module.forward
        if plain is not None:  # a wrapper's (Accelerate sets one)
            module.forward = plain


def pull(
    model: nn.Module,
    batch: Any,
    forward: Forward,
    own: Returned,
    *,
    answers: Sequence[Tensor] | None = None,
    place: int = 0,
) -> Tensor | None:
    """The gradient of the loss at one of the module's tensors, or of others in their place; None if not finite."""
    given = list(answers or own.tensors)
    given[place] = given[place].detach().clone().requires_grad_()
    loss = loss_of(model, batch, forward, own, given)
    gradient = torch.autograd.grad(loss, given[place], allow_unused=True)[0] if loss.requires_grad else None
    return gradient if gradient is not None and bool(gradient.isfinite().all()) else None


def exchanged(batch: Any, tensor: Tensor, other: Tensor) -> Any:
    """The batch with another tensor in the place of one of its own."""
    other = _laid_out(other, tensor)

    def change(part: Any) -> Any:
        return other if part is tensor else part if isinstance(part, Tensor) else map_parts(part, change)

    return change(batch)


def _laid_out(other: Tensor, own: Tensor) -> Tensor:
    """In one block of memory where the program's own is: a loss may `view` it."""
    return other.contiguous() if own.is_contiguous() else other
