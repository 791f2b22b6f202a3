"""Evaluation passes of a loop that is not ours to edit: whether batch norm and dropout run as in training."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks

from trainability.doctor.batches import most_rows
from trainability.doctor.measure import stance
from trainability.doctor.measure.trained_mode import acts_in_training
from trainability.loops.monitor import Monitor

_MOST_DRAWS = 1.5  # of an example, where nothing but dropout asks for its mode: more are averaged, on purpose


class EvaluationModes:
    """Counts passes without gradients over data that are not trained on, by the mode in which layers ran.

    A hook of all modules sees the calls, since one on a layer would be copied and saved with the model.
    """

    def __init__(self) -> None:
        self._monitor: Monitor | None = None  # of the present pass
        self._handle: Any = None
        self._layers: set[int] = set()
        self._calls: Counter[bool] = Counter()  # in training mode or not
        self._rows: Counter[int] = Counter()  # that each layer was given
        self._num_examples = 0
        self._normalises = False
        self._passes: Counter[bool] = Counter()

    def begin(self, monitor: Monitor, batch: Any) -> None:
        """A pass begins, with this batch."""
        self.end()
        layers = [module for module in monitor.model.modules() if acts_in_training(module)]
        if not layers or stance.has_compiled():
            return
        self._monitor, self._layers, self._num_examples = monitor, set(map(id, layers)), 0
        self._normalises = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in layers)
        self._handle = module_hooks.register_module_forward_pre_hook(self._on_call)
        self.batch(batch)

    def batch(self, batch: Any) -> None:
        """A batch of it is given."""
        self._num_examples += most_rows(batch)

    def _on_call(self, module: nn.Module, args: Any) -> None:
        if id(module) in self._layers and not torch.is_grad_enabled():
            self._calls[module.training] += 1
            first = args[0] if args else None
            self._rows[id(module)] += len(first) if isinstance(first, Tensor) and first.dim() else 1

    def end(self) -> None:
        """The pass is over, if there is one."""
        monitor, self._monitor = self._monitor, None
        if monitor is None:
            return
        self._handle.remove()
        calls, rows = self._calls, max(self._rows.values(), default=0)
        self._calls, self._rows = Counter(), Counter()
        is_drawn = not self._normalises and rows > _MOST_DRAWS * self._num_examples
        if calls and not is_drawn:
            self._passes[calls[False] == 0] += 1
            monitor.of_script["evaluated_in_training"] = (self._passes[True], self._passes.total())
