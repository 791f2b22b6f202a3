"""Hooks that reduce what flows through a model's layers to a few numbers each, on the device."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from . import stats
from .signal import layer_kind
from .trace import RECTIFIERS, Trace


def first_tensor(value: Any) -> Tensor | None:
    """The first tensor in what a module returned; None if there is none."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return next((t for item in value if (t := first_tensor(item)) is not None), None)
    return None


class Watch:
    """Statistics of one forward and backward pass per layer with weights.

    Reduces inside the hook: an in-place ReLU overwrites the layer's output a moment later.

    Args:
        model: the plain module.
        exact: statistics over every element; else thinned.
    """

    def __init__(self, model: nn.Module, exact: bool) -> None:
        self.layers = {name: module for name, module in model.named_modules() if layer_kind(module)}
        self.exact = exact
        self.order: list[str] = []
        self.forward: dict[str, Tensor] = {}
        self.parts: dict[str, Tensor] = {}
        self.backward: dict[str, Tensor] = {}
        self._handles: list[Any] = []

    def attach(self) -> None:
        """Installs the hooks."""
        for name, module in self.layers.items():
            self._handles.append(module.register_forward_hook(self._hook(name)))

    def detach(self) -> None:
        """Removes the hooks; what they saw stays."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def clear(self) -> None:
        """Forgets what was seen."""
        self.order.clear()
        for seen in (self.forward, self.parts, self.backward):
            seen.clear()

    def _hook(self, name: str) -> Callable:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            # The first pass with gradients counts: evaluation between steps and later micro-batches do not.
            tensor = first_tensor(output)
            if name in self.forward or tensor is None or not torch.is_grad_enabled() or not tensor.is_floating_point():
                return
            with torch.no_grad():
                self.order.append(name)
                self.forward[name] = stats.activation_stats(tensor.detach(), self.exact)
                self.parts[name] = stats.thin(tensor.detach(), stats.HISTOGRAM_SIZE).float().clone()
            if tensor.requires_grad:
                tensor.register_hook(lambda g: self._save_gradient(name, g))

        return hook

    def _save_gradient(self, name: str, gradient: Tensor) -> None:
        if name not in self.backward:
            self.backward[name] = stats.rms(gradient if self.exact else stats.thin(gradient))


def activation_fields(values: list[float], activation: str | None) -> dict[str, Any]:
    """Fields of `LayerStats` from one row of `stats.activation_stats` on the host."""
    row: dict[str, float] = dict(zip(stats.ACTIVATION_FIELDS, values, strict=True))
    rectified = activation in RECTIFIERS
    finite = math.isfinite(row["min"]) and math.isfinite(row["max"])
    return {
        "activation_rms": row["rms"],
        "activation_nonfinite": not finite,
        "zero_fraction": row["nonpositive"] if rectified else None,
        "dead_fraction": row["dead"] if rectified else None,
        "saturated_fraction": row[f"{activation}_saturated"] if activation in ("tanh", "sigmoid") else None,
    }


def activations_by_layer(trace: Trace | None, model: nn.Module) -> dict[str, str | None]:
    """The activation function behind each layer: as traced, else as the next module in `named_modules()` order."""
    if trace is not None:
        return {op.name: trace.activation_after(op) for op in trace.ops if op.name is not None}
    leaves = [(name, module) for name, module in model.named_modules() if not list(module.children())]
    following = {}
    for (name, module), (_, after) in itertools.pairwise(leaves):
        if layer_kind(module):
            following[name] = type(after).__name__.lower() if not layer_kind(after) else None
    return following
