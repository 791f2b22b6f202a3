"""Hooks that reduce what flows through a model's layers, on the device."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure import statistics
from trainability.doctor.theory.signal import layer_kind
from trainability.doctor.theory.trace import RECTIFIERS, Trace


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
    """One forward and backward pass, per layer with weights.

    Reduces inside the hook: an in-place ReLU overwrites the layer's output a moment later.

    Args:
        model: the plain module.
        output: what to keep of a layer's output; not a view of it.
        gradient: what to keep of the gradient of a layer's output.
        guard: runs what a hook does; an error that it lets out ends the model's forward or backward pass.

    Attributes:
        order: layers that ran, in that order.
        forward: what `output` made of their outputs.
        dead: share of their units that are nowhere above zero.
        backward: what `gradient` made of their outputs' gradients; a layer that no gradient reached has none.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        output: Callable[[Tensor], Tensor],
        gradient: Callable[[Tensor], Tensor],
        guard: Callable[[Callable[[], None]], None] = lambda action: action(),
    ) -> None:
        self.layers = {name: module for name, module in model.named_modules() if layer_kind(module)}
        self.output, self.gradient, self.guard = output, gradient, guard
        self.order: list[str] = []
        self.forward: dict[str, Tensor] = {}
        self.dead: dict[str, Tensor] = {}
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
        for seen in (self.forward, self.dead, self.backward):
            seen.clear()

    def _hook(self, name: str) -> Callable:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            # The first pass with gradients counts: evaluation between steps and later micro-batches do not.
            if name not in self.forward and torch.is_grad_enabled():
                self.guard(lambda: self._save_output(name, first_tensor(output)))

        return hook

    def _save_output(self, name: str, tensor: Tensor | None) -> None:
        if tensor is None or not tensor.is_floating_point() or tensor.numel() == 0:
            return
        with torch.no_grad():
            self.forward[name] = self.output(tensor.detach())
            self.dead[name] = statistics.dead_fraction(tensor.detach())
            self.order.append(name)
        if tensor.requires_grad:
            tensor.register_hook(lambda g: self.guard(lambda: self._save_gradient(name, g)))

    def _save_gradient(self, name: str, gradient: Tensor) -> None:
        if name not in self.backward:
            self.backward[name] = self.gradient(gradient)


def activation_fields(values: list[float], dead: float, activation: str | None) -> dict[str, Any]:
    """Fields of `LayerStats` from one row of `statistics.activation_stats`, and the share of dead units, on the host."""
    row: dict[str, float] = dict(zip(statistics.ACTIVATION_FIELDS, values, strict=True))
    rectified = activation in RECTIFIERS
    finite = math.isfinite(row["min"]) and math.isfinite(row["max"])
    return {
        "activation_rms": row["rms"],
        "activation_nonfinite": not finite,
        "zero_fraction": row["nonpositive"] if rectified else None,
        "dead_fraction": dead if rectified else None,
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
