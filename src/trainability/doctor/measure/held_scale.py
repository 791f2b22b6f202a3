"""Layers that normalise over the steps of a series, held at the scale of one pass."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class HeldScale:
    """Keeps the statistics of layers that normalise over steps: they let a little of every step through to all others.

    Attributes:
        is_kept: what the layers are given is put on the scale of the pass before.
    """

    def __init__(self, model: nn.Module) -> None:
        self.is_kept = False
        self._statistics: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        self._layers = [module for module in model.modules() if over_steps(module)]
        self._handles: list[Any] = []

    def __enter__(self) -> HeldScale:
        self._handles = [module.register_forward_hook(self._on_output) for module in self._layers]
        return self

    def __exit__(self, *details: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _on_output(self, module: Any, args: Any, output: Any) -> Any:
        given = args[0]
        if isinstance(module, nn.LayerNorm):
            rows = given.flatten(-len(module.normalized_shape))
        else:
            rows = given.reshape(*given.shape[:1], getattr(module, "num_groups", given.shape[1]), -1)
        if not self.is_kept:
            self._statistics[module] = (rows.mean(dim=-1, keepdim=True), rows.var(dim=-1, keepdim=True, correction=0))
            return None
        mean, variance = self._statistics[module]
        scaled = ((rows - mean) / (variance + module.eps).sqrt()).view_as(given)
        if module.weight is None:
            return scaled
        shape = module.weight.shape if isinstance(module, nn.LayerNorm) else (-1, *[1] * (given.dim() - 2))
        return scaled * module.weight.view(shape) + (0 if module.bias is None else module.bias.view(shape))


def over_steps(module: nn.Module) -> bool:
    if isinstance(module, nn.LayerNorm):
        return len(module.normalized_shape) > 1
    is_instance = isinstance(module, nn.modules.instancenorm._InstanceNorm) and not module.track_running_stats
    return is_instance or isinstance(module, nn.GroupNorm)
