"""Evaluation passes of a loop that is not ours to edit: whether layers that ask for their mode run as in training."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import nn

from trainability.doctor.measure.trained_mode import asks_for_mode
from trainability.loops.monitor import Monitor

_MOST_CALLS = 1.5  # a batch, of a layer of which nothing but dropout asks: more are draws that are averaged, on purpose


class EvaluationModes:
    """Counts passes without gradients over data that are not trained on, by the mode in which layers ran."""

    def __init__(self) -> None:
        self._monitor: Monitor | None = None  # of the present pass
        self._handles: list[Any] = []
        self._calls: Counter[bool] = Counter()  # in training mode or not
        self._by_layer: Counter[int] = Counter()
        self._num_batches = 0
        self._normalises = False
        self._passes: Counter[bool] = Counter()

    def begin(self, monitor: Monitor) -> None:
        """A pass begins; its first batch is given."""
        self.end()
        layers = [module for module in monitor.model.modules() if asks_for_mode(module)]
        self._monitor, self._num_batches = monitor, 1
        self._normalises = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in layers)
        self._handles = [module.register_forward_pre_hook(self._on_call) for module in layers]

    def batch(self) -> None:
        """Another batch of it is given."""
        self._num_batches += 1

    def _on_call(self, module: nn.Module, args: Any) -> None:
        if not torch.is_grad_enabled():
            self._calls[module.training] += 1
            self._by_layer[id(module)] += 1

    def end(self) -> None:
        """The pass is over, if there is one."""
        monitor, self._monitor = self._monitor, None
        for handle in self._handles:
            handle.remove()
        calls, by_layer = self._calls, self._by_layer
        self._handles, self._calls, self._by_layer = [], Counter(), Counter()
        is_drawn = not self._normalises and max(by_layer.values(), default=0) > _MOST_CALLS * self._num_batches
        if monitor is None or not calls or is_drawn:
            return
        self._passes[calls[False] == 0] += 1
        monitor.of_script["evaluated_in_training"] = (self._passes[True], self._passes.total())
