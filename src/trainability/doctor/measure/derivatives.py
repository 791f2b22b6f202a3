"""Derivatives that a loss takes by itself, watched in one pass."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.measure.constant_slopes import ConstantSlopes, is_derivative, is_flat, words_of
from trainability.doctor.measure.randomness import seed_torch

_OTHER = 1.5  # times a derivative, in its place


class Derivatives(TorchFunctionMode):
    """Watches `torch.autograd.grad` inside the `with` block.

    Args:
        factor: times which the block is given derivatives that have no graph.

    Attributes:
        with_graph: whether a derivative was taken for a graph of its own.
        came_back: whether a backward pass inside the block went through such a derivative.
        flat: whether one of these is flat; see `is_flat`.
        without_graph: whether a derivative by something that is no parameter was taken without a graph.
        slopes: where these are compared with outputs.
    """

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.flat = self.with_graph = self.without_graph = self.came_back = False
        self.slopes = ConstantSlopes()
        self._factor = factor

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Look at a call."""
        result = func(*args, **(kwargs or {}))
        if is_derivative(func):
            result = self._derived(words_of(args, kwargs or {}), result)
        with contextlib.suppress(Exception):  # one fact less
            self.slopes.see(func, args, kwargs or {}, result)
        return result

    def _derived(self, words: dict[str, Any], found: Any) -> Any:
        if words.get("create_graph"):
            self.with_graph = True
            for slope in found:
                if isinstance(slope, Tensor) and slope.requires_grad:
                    slope.register_hook(self._on_gradient)
            self.flat |= is_flat(words, found)
            return found
        by = [words["inputs"]] if isinstance(words["inputs"], Tensor) else list(words["inputs"])
        if any(isinstance(t, nn.Parameter) for t in by) or any(g is not None and g.requires_grad for g in found):
            return found
        self.without_graph = True
        return tuple(g if g is None else g * self._factor for g in found) if self._factor != 1.0 else found

    def _on_gradient(self, gradient: Tensor) -> None:
        self.came_back = True


def has_constant_slope(derivatives: Derivatives, model: nn.Module, loss: Tensor) -> bool:
    """Whether a loss compares a derivative without a graph with an output of the same weights at the same input."""
    return derivatives.slopes.found(loss, {id(p) for p in model.parameters() if p.requires_grad})


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
            seed_torch(0)
            loss = forward(model, batch).sum()
        losses.append(float(loss.detach()))
        gradients.append(torch.autograd.grad(loss, parameters, allow_unused=True))
    pairs = list(zip(*gradients, strict=True))
    alike = all(a is b or (a is not None and b is not None and torch.equal(a, b)) for a, b in pairs)
    return alike and losses[0] != losses[1]
