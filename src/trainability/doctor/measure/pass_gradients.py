"""What each backward pass gave a model, and of which passes the gradients are that its optimizer steps on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

_MOST_NUMBERS = 1 << 16  # of the weight that is followed
_EXACT = 1e-3  # relative: the sum of several passes, in another order


class PassGradients:
    """The gradients that one weight of a model was given since its optimizer stepped, pass by pass.

    A gradient that the loop clears, by whatever means, or puts back, or sets by itself is no longer the sum of the passes.

    Attributes:
        handles: of the hook.
    """

    def __init__(self, model: nn.Module) -> None:
        held = sorted((p for p in model.parameters() if p.requires_grad and p.numel()), key=Tensor.numel)
        small = [p for p in held if p.numel() <= _MOST_NUMBERS]
        self._weight = (small[-1:] or held[:1] or [None])[0]  # a bias alone may hold one number: any two are parallel
        self._given: dict[int, Tensor] = {}  # by the number of the pass, in order
        self.handles: list[Any] = [] if self._weight is None else [self._weight.register_hook(self._on_gradient())]

    def _on_gradient(self) -> Callable[[Tensor], None]:
        def given(g: Tensor) -> None:
            self._given[torch._C._current_graph_task_id()] = g.detach().clone()

        return given

    def hold(self, one: int, other: int) -> bool:
        """Whether the weight's gradient is, but for a factor as of clipping, the sum of all passes from the first of two on.

        False as well where what came after that pass alone would be the same.
        """
        gradient = None if self._weight is None else self._weight.grad
        if gradient is None or not {one, other} <= self._given.keys():
            return False
        passes, first = list(self._given), min(one, other)
        sums = {since: torch.stack([self._given[each] for each in passes[k:]]).sum(0) for k, since in enumerate(passes)}
        are_parallel = {since: _are_parallel(gradient, summed) for since, summed in sums.items()}
        return any(found for since, found in are_parallel.items() if since <= first) and not any(
            found for since, found in are_parallel.items() if since > first
        )

    def clear(self) -> None:
        """Forget the passes: the optimizer has stepped."""
        self._given.clear()


def _are_parallel(a: Tensor, b: Tensor) -> bool:
    a, b = a.double().flatten(), b.double().flatten()
    along = a @ b
    return bool(along > 0) and bool((a - along / (b @ b) * b).norm() <= _EXACT * a.norm())
