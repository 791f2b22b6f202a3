"""A look inside the model during one step: armed before it, reduced on the device, read on the host."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.evidence import LayerStats, Sample
from trainability.doctor.measure import statistics
from trainability.doctor.measure.hooks import Watch, activation_fields, activations_by_layer, first_tensor
from trainability.doctor.theory import moments, signal
from trainability.doctor.theory.trace import Trace, trace


@dataclass(frozen=True, kw_only=True)
class Block:
    """Numbers of one kind that wait on the device.

    Attributes:
        kind: what they are, "weight_rms".
        rows: what each row of `values` is about: a layer's name, or a step's number.
        values: (rows, ...).
    """

    kind: str
    rows: tuple[Hashable, ...]
    values: Tensor


def to_host(blocks: list[Block]) -> dict[str, dict[Hashable, Any]]:
    """Bring blocks to the host in one copy: this is the only place that waits for the device.

    Returns:
        By kind and row, a number or a list of them.
    """
    if not blocks:
        return {}
    device = blocks[0].values.device
    flat = torch.cat([block.values.float().reshape(-1).to(device) for block in blocks]).cpu()
    parts = flat.split([block.values.numel() for block in blocks])
    return {
        block.kind: dict(zip(block.rows, part.view(block.values.shape).tolist(), strict=True))
        for block, part in zip(blocks, parts, strict=True)
    }


class LayerSampler:
    """Watches the layers of a model during one step at a time.

    Args:
        model: the plain module.
        gauge: the parameter whose gradient is looked at as backward begins; `None` if the model has none.
        guard: runs what a hook does; an error that it lets out ends the model's forward or backward pass.

    Attributes:
        is_armed: whether hooks are on the model.
    """

    def __init__(self, model: nn.Module, gauge: nn.Parameter | None, guard: Callable[[Callable[[], None]], None]) -> None:
        self.is_armed = False
        self._model, self._gauge, self._guard = model, gauge, guard
        self._watch = Watch(model, output=statistics.thin, gradient=statistics.thin, guard=guard)
        self._roots: list[Any] = []
        self._stance: Any = None
        self._trace: Trace | None = None
        self._untraceable = False
        self._activations: dict[str, str | None] | None = None
        self._forget()

    def _forget(self) -> None:
        self._watch.clear()
        self._training: bool | None = None
        self._stale: Tensor | None = None
        self._input: tuple[tuple[int, ...], torch.dtype] | None = None
        self._weights: dict[str, Tensor] = {}
        self._gradients: dict[str, Tensor] = {}

    def arm(self) -> None:
        """Install the hooks; what an earlier step showed is forgotten."""
        self.is_armed = True
        self._forget()
        # Hooks that a compiled module was not compiled with never fire: this step runs the plain one.
        if "torch._dynamo" in sys.modules:  # nothing is compiled without it, and importing it takes seconds
            self._stance = torch.compiler.set_stance("force_eager")
        self._watch.attach()
        self._roots = [
            self._model.register_forward_pre_hook(self._on_input),
            self._model.register_forward_hook(self._on_output),
        ]

    def disarm(self) -> None:
        """Remove the hooks; what they saw stays."""
        self.is_armed = False
        self._watch.detach()
        for handle in self._roots:
            handle.remove()
        self._roots = []
        if self._stance is not None:
            self._stance.__exit__(None, None, None)
            self._stance = None

    def end_first_pass(self) -> None:
        """The first micro-batch was seen; later ones and evaluations are not looked at."""
        self._watch.detach()

    def take_gradients(self, scale: Tensor | float) -> None:
        """Keep the step's gradients, divided by the scale that is on them, and the weights as they are before the step."""
        for name, module in self._watch.layers.items():
            if (weight := _weight(module)) is None:
                continue
            self._weights[name] = statistics.thin(statistics.local(weight))
            if weight.grad is not None:
                gradient = statistics.thin(statistics.local(weight.grad))
                self._gradients[name] = gradient if isinstance(scale, float) and scale == 1.0 else gradient / scale

    def blocks(self, *, has_stepped: bool) -> list[Block]:
        """Reduce what the step showed, all layers together.

        Args:
            has_stepped: the optimizer has moved the weights since `take_gradients`.
        """
        watch, weights, gradients = self._watch, self._weights, self._gradients
        found = []

        def add(kind: str, rows: Iterable[str], values: Tensor) -> None:
            found.append(Block(kind=kind, rows=tuple(rows), values=values))

        if watch.order:
            stats = statistics.in_rows(statistics.activation_stats, [watch.forward[name] for name in watch.order])
            add("activation", watch.order, stats)
            add("dead", watch.order, torch.stack([watch.dead[name] for name in watch.order]))
        if watch.backward:
            add("output_gradient_rms", watch.backward, statistics.in_rows(statistics.row_rms, list(watch.backward.values())))
        if gradients:
            add("gradient", gradients, statistics.in_rows(statistics.gradient_stats, list(gradients.values())))
        if weights:
            add("weight_rms", weights, statistics.in_rows(statistics.row_rms, list(weights.values())))
        if weights and has_stepped:
            moved = [self._now(name).float() - before.float() for name, before in weights.items()]
            add("moved", weights, statistics.in_rows(statistics.row_rms, moved))
        kinds = {"weight_histogram": weights, "gradient_histogram": gradients, "activation_histogram": watch.forward}
        if parts := [part for tensors in kinds.values() for part in tensors.values()]:
            shares = statistics.log_histograms(parts).split([len(tensors) for tensors in kinds.values()])
            for (kind, tensors), rows in zip(kinds.items(), shares, strict=True):
                add(kind, tensors, rows)
        if self._stale is not None:
            add("stale", ("gauge",), self._stale.reshape(1))
        return found

    def _now(self, name: str) -> Tensor:
        weight = _weight(self._watch.layers[name])
        assert weight is not None
        return statistics.thin(statistics.local(weight))

    def sample(self, step: int, numbers: dict[str, dict[Hashable, Any]]) -> Sample:
        """Read the blocks of this step, as `to_host` brought them over."""
        following = self._following()
        names = dict.fromkeys((*self._watch.order, *self._weights))
        of_layer = {name: {kind: rows[name] for kind, rows in numbers.items() if name in rows} for name in names}
        return Sample(
            step=step,
            layers=tuple(self._layer(name, of_layer[name], following.get(name)) for name in names),
            batch_size=self._input[0][0] if self._input is not None else None,
            training=self._training,
            gradient_norm_before_backward=numbers["stale"]["gauge"] if "stale" in numbers else None,
            blind=not self._watch.order,
        )

    def _layer(self, name: str, numbers: dict[str, Any], activation: str | None) -> LayerStats:
        module = self._watch.layers[name]
        kind = str(signal.layer_kind(module))
        weight = _weight(module)
        fields: dict[str, Any] = {key: numbers[key] for key in ("output_gradient_rms", "weight_rms") if key in numbers}
        if "activation" in numbers:
            fields |= activation_fields(numbers["activation"], numbers["dead"], activation)
        if "gradient" in numbers:
            row = dict(zip(statistics.GRADIENT_FIELDS, numbers["gradient"], strict=True))
            fields |= {f"gradient_{key}": row[key] for key in ("rms", "min", "max")}
            fields["gradient_nonfinite"] = not (math.isfinite(row["min"]) and math.isfinite(row["max"]))
        if "moved" in numbers and numbers["weight_rms"] > 0:
            fields["update_ratio"] = numbers["moved"] / numbers["weight_rms"]
        for key in ("weight_histogram", "gradient_histogram", "activation_histogram"):
            if key in numbers:
                fields[key] = statistics.as_histogram(numbers[key])
        if weight is not None and kind in ("conv", "linear", "conv_transpose"):
            fields["fan_in"] = moments.fan_in(kind, weight.shape)
            fields["fan_out"] = moments.fan_out(kind, weight.shape)
            fields["num_units"] = weight.shape[1] if kind == "conv_transpose" else weight.shape[0]
        return LayerStats(name=name, kind=kind, activation=activation, **fields)

    def _following(self) -> dict[str, str | None]:
        if self._trace is None and self._input is not None and not self._untraceable:
            try:
                self._trace = trace(self._model, *self._input)
            except ValueError:
                self._untraceable = True  # the order of modules has to do
        if self._activations is None:
            self._activations = activations_by_layer(self._trace, self._model)
        return self._activations

    def _on_input(self, module: nn.Module, args: Any) -> None:
        tensor = first_tensor(args)
        if torch.is_grad_enabled() and self._training is None:
            self._training = module.training
            if tensor is not None:
                self._input = (tuple(tensor.shape), tensor.dtype)

    def _on_output(self, module: nn.Module, args: Any, output: Any) -> None:
        tensor = first_tensor(output)
        if tensor is not None and tensor.requires_grad and torch.is_grad_enabled() and self._stale is None:
            tensor.register_hook(lambda gradient: self._guard(lambda: self._on_backward(gradient)))

    def _on_backward(self, gradient: Tensor) -> None:
        """Runs as backward begins, before any parameter's gradient is written."""
        if self._gauge is not None and self._stale is None:
            left = self._gauge.grad
            self._stale = (
                torch.zeros((), device=gradient.device) if left is None else statistics.rms(statistics.local(left)).detach()
            )


def _weight(module: nn.Module) -> Tensor | None:
    weight = getattr(module, "weight", None)
    return weight if isinstance(weight, Tensor) else None
