"""Losses of several optimizers: whether one steps on a loss that another leaves behind."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import first_tensor
from trainability.doctor.measure.left_behind import LeftBehind


class LeftLosses:
    """Follows through which optimizers' parts backward passes come, and which of these step on them.

    Args:
        optimizers: of the loop.
        is_watching: whether what runs now is the loop's own.

    Attributes:
        found: whether a backward pass came through what one optimizer trains, and only another stepped on it.
    """

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer], is_watching: Callable[[], bool]) -> None:
        self.found = False
        self._optimizers, self._is_watching = optimizers, is_watching
        self._through: set[int] = set()  # optimizers whose part was in a backward pass since one stepped
        self._waiting: set[int] = set()  # those of them that another left behind when it stepped

    def hooks(self, models: Sequence[nn.Module], parameters: Sequence[Tensor]) -> Iterator[Any]:
        """Hooks that tell which optimizers' parts a backward pass comes through; a part may be frozen meanwhile."""
        owner = {id(p): id(each) for each in self._optimizers for group in each.param_groups for p in group["params"]}
        for p in parameters:
            if id(p) in owner:
                yield p.register_hook(functools.partial(self._came_through, owner[id(p)]))
        for part in models:
            for module in part.modules():
                for key in {owner[id(p)] for p in module.parameters(recurse=False) if id(p) in owner}:
                    yield module.register_forward_hook(LeftBehind(functools.partial(self._on_part, key)))

    def stepping(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer is about to step."""
        self._waiting = (self._waiting | self._through) - {id(optimizer)}
        self._through.clear()

    def _on_part(self, key: int, module: nn.Module, args: Any, output: Any) -> None:
        found = first_tensor(output)
        if self._is_watching() and found is not None and found.requires_grad:
            found.register_hook(functools.partial(self._came_through, key))

    def _came_through(self, key: int, gradient: Tensor) -> None:
        if self._is_watching():
            self.found |= bool(self._waiting)
            self._waiting.clear()
            self._through.add(key)
