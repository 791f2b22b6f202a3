"""Derivatives that a loss takes by itself, watched in one pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

_OTHER = 1.5  # times a derivative, in its place


class Derivatives:
    """Watches `torch.autograd.grad` inside the `with` block.

    Args:
        factor: times which the block is given derivatives that have no graph.

    Attributes:
        with_graph: whether a derivative was taken for a graph of its own.
        flat: whether something that is not zero was differentiated for a graph of its own, and every number of the result is
            exactly zero.
        without_graph: whether a derivative by something that is no parameter was taken without a graph.
    """

    def __init__(self, factor: float = 1.0) -> None:
        self.flat = self.with_graph = self.without_graph = False
        self._factor = factor

    def __enter__(self) -> Derivatives:
        self._own = torch.autograd.grad
        torch.autograd.grad = self._grad
        return self

    def __exit__(self, *details: Any) -> None:
        torch.autograd.grad = self._own

    def _grad(self, outputs: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        found = self._own(outputs, inputs, *args, **kwargs)
        if kwargs.get("create_graph"):
            self.with_graph = True
            given = [outputs] if isinstance(outputs, Tensor) else list(outputs)
            made = [gradient for gradient in found if gradient is not None]
            self.flat |= bool(made) and any(bool(t.any()) for t in given) and not any(bool(g.any()) for g in made)
            return found
        by = [inputs] if isinstance(inputs, Tensor) else list(inputs)
        if any(isinstance(t, nn.Parameter) for t in by) or any(g is not None and g.requires_grad for g in found):
            return found
        self.without_graph = True
        return tuple(g if g is None else g * self._factor for g in found) if self._factor != 1.0 else found


def is_constant_term(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> bool:
    """Whether the loss changes with a derivative that it takes without a graph, and no parameter's gradient does.

    A penalty on a slope is then a number beside the loss. A derivative that moves samples, or weighs terms, changes gradients.

    Args:
        model: as in the loop, in train mode.
        batch: what it was asked.
        forward: of (model, batch), the loss.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    losses, gradients = [], []
    for factor in (1.0, _OTHER):
        with torch.enable_grad(), torch.random.fork_rng(), Derivatives(factor):
            torch.manual_seed(0)
            loss = forward(model, batch).sum()
        losses.append(float(loss.detach()))
        gradients.append(torch.autograd.grad(loss, parameters, allow_unused=True))
    pairs = list(zip(*gradients, strict=True))
    alike = all(a is b or (a is not None and b is not None and torch.equal(a, b)) for a, b in pairs)
    return alike and losses[0] != losses[1]
