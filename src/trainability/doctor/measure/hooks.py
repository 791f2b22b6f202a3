"""Hooks that reduce what flows through a model's layers, on the device."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import first_tensor
from trainability.doctor.error_line import error_line
from trainability.doctor.measure import ahead, stance, statistics
from trainability.doctor.measure.global_hooks import on_every_call
from trainability.doctor.measure.layers import Layer, layers_of
from trainability.doctor.measure.left_behind import LeftBehind
from trainability.doctor.theory.trace import RECTIFIERS


class _Hook(LeftBehind):
    """A layer's forward hook, which no script of it can hold."""

    @property
    def __name__(self) -> str:
        """What `torch.jit.script` asks for, which cannot compile it."""
        raise AttributeError(
            "Monitor watches this layer in this step by a hook of its own, as something was compiled, and torch.jit.script "
            "takes no such hook; script the model in a step that is not sampled"
        )


class Watch:
    """One forward and backward pass, per layer.

    Reduces inside the hook: an in-place ReLU overwrites the layer's output a moment later. The hook is PyTorch's global one,
    which every module call passes through: nothing is written into the model, so that it can be saved, copied and scripted.
    Compiled modules warn of it: where something was compiled, each layer has a hook of its own, and cannot be scripted then.
    An error in a hook ends the watch on that layer and reaches nobody.

    Args:
        model: the plain module.
        output: what to keep of a layer's output; not a view of it.
        gradient: what to keep of the gradient of a layer's output.
        on_model: called with (args, kwargs, output) of the model's own forward pass.

    Attributes:
        wrapper: a module around the model; None without one.
        on_wrapper: called when it has run.
        layers: by name.
        order: layers that ran, in that order.
        forward: what `output` made of their outputs.
        dead: share of their units that are nowhere above zero.
        backward: what `gradient` made of their outputs' gradients; a layer that no gradient reached has none.
        nodes: the `grad_fn` of their outputs, until `clear`.
        called: layers whose module was called, whatever came out.
        unreadable: those that returned something else than a tensor of real numbers (in `torch.func`, sparse, complex).
        lengths: first two dimensions of what recurrent and attention layers without batch_first were given.
        asked: how many rows the model, or another of its kind, was given without gradients, as to make goals.
        failed: what went wrong, by layer.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        output: Callable[[Tensor], Tensor],
        gradient: Callable[[Tensor], Tensor],
        on_model: Callable[[Any, Any, Any], None] | None = None,
    ) -> None:
        self.model = model
        self.output, self.gradient, self.on_model = output, gradient, on_model
        self.wrapper: nn.Module | None = None
        self.on_wrapper: Callable[[], None] = lambda: None
        self.layers: dict[str, Layer] = {}
        self.order: list[str] = []
        self.forward: dict[str, Tensor] = {}
        self.dead: dict[str, Tensor] = {}
        self.backward: dict[str, Tensor] = {}
        self.nodes: dict[str, Any] = {}
        self.called: set[str] = set()
        self.unreadable: set[str] = set()
        self.lengths: dict[str, tuple[int, int]] = {}
        self.asked: set[int] = set()
        self.failed: dict[str, str] = {}
        self._names: dict[int, str] = {}
        self._handles: list[Any] = []

    def attach(self) -> None:
        """Find the layers anew and install the hooks."""
        self.detach()
        self.layers = layers_of(self.model)
        self._names = {id(layer.module): name for name, layer in self.layers.items()}
        if not stance.has_compiled():
            self._handles.append(on_every_call(self._on_module))
            return
        for module in dict.fromkeys((*(layer.module for layer in self.layers.values()), self.model, self.wrapper)):
            if module is not None and not isinstance(module, torch.jit.ScriptModule):  # which takes no hooks of its own
                hook = _Hook(self._on_module)
                self._handles.append(module.register_forward_hook(hook, with_kwargs=True))

    def detach(self) -> None:
        """Remove the hooks; what they saw stays."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def clear(self) -> None:
        """Forget what was seen."""
        self.order.clear()
        self.called.clear()
        self.unreadable.clear()
        self.lengths.clear()
        self.asked.clear()
        for seen in (self.forward, self.dead, self.backward, self.nodes):
            seen.clear()

    def _on_module(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if module is self.wrapper and torch.is_grad_enabled():
            self.on_wrapper()
        name = self._names.get(id(module))
        if not torch.is_grad_enabled() and self._is_the_model(module) and torch._C._get_tracing_state() is None:
            self.asked.update(given.shape[0] for given in args[:1] if isinstance(given, Tensor) and given.dim())
        if (name is None and module is not self.model) or not torch.is_grad_enabled() or ahead.is_running():
            return
        # What is traced, scripted or exported in between is not the loop's forward pass.
        if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
            return
        # The first pass with gradients counts: evaluation between steps and later micro-batches do not.
        if name is not None and name not in self.called and name not in self.failed:
            self.called.add(name)
            if isinstance(module, (nn.RNNBase, nn.MultiheadAttention)) and not module.batch_first:
                given = args[0] if args else None
                if isinstance(given, Tensor) and given.dim() == 3:
                    self.lengths[name] = (given.shape[0], given.shape[1])
            self._try(name, lambda: self._save_output(name, first_tensor(output)))
        if module is self.model and self.on_model is not None:
            self.on_model(args, kwargs, output)

    def _is_the_model(self, module: nn.Module) -> bool:
        """Whether it is the model, in the mode in which it is trained, or another of its kind, as a target network is."""
        if type(module) is not type(self.model):
            return False
        if module is self.model:
            return module.training
        return [p.shape for p in module.parameters()] == [p.shape for p in self.model.parameters()]

    def _try(self, name: str, action: Callable[[], None]) -> None:
        try:
            with torch.no_grad():
                action()
        except Exception as error:
            self.failed[name] = error_line(error)

    def _save_output(self, name: str, tensor: Tensor | None) -> None:
        if tensor is None or not statistics.is_readable(tensor):
            self.unreadable.add(name)
            return
        if tensor.numel() == 0:  # an expert that no example was sent to
            return
        kept, dead = self.output(tensor.detach()), statistics.dead_fraction(tensor.detach())
        self.forward[name], self.dead[name] = kept, dead
        self.order.append(name)
        if tensor.requires_grad:
            self.nodes[name] = tensor.grad_fn
            tensor.register_hook(lambda g: self._try(name, lambda: self._save_gradient(name, g)))

    def _save_gradient(self, name: str, gradient: Tensor | None) -> None:
        if gradient is None:  # of an output that nothing uses, beside one that something does
            return
        if name not in self.backward and statistics.is_readable(gradient) and not ahead.is_running():
            self.backward[name] = self.gradient(gradient.detach())


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
