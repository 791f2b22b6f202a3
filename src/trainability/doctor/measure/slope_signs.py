"""Penalties on derivatives that are subtracted: the loss falls without end as the derivatives grow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.measure.constant_slopes import is_derivative, words_of
from trainability.doctor.measure.randomness import randomness_restored

_FACTORS = (1e3, 4e3, 1.6e4)  # so large that a penalty which wants a slope of one is a square, too
# What a loss loses over the second of these two stretches is four times what it loses over the first along a line, and sixteen
# times along a square.
_SQUARE, _WITHIN = 16.0, 0.1


class _Steeper(TorchFunctionMode):
    """Gives the block each derivative that it takes for a graph, by something that is no parameter, times a factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self._factor = factor

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if not is_derivative(func):
            return found
        words = words_of(args, kwargs or {})
        by = [words["inputs"]] if isinstance(words["inputs"], Tensor) else list(words["inputs"])
        if not words.get("create_graph") or any(isinstance(x, nn.Parameter) for x in by):
            return found
        return tuple(g if g is None else g * self._factor for g in found)


def falls_with_slopes(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> bool:
    """Whether the loss falls with the square of the derivatives that it takes, as one does from which a penalty is subtracted.

    Args:
        model: as in the loop, in train mode.
        batch: what it was asked.
        forward: of (model, batch), the loss.

    Returns:
        Whether it falls ever further as all derivatives grow by 1e3, 4e3 and 1.6e4, over the last stretch by 16 times as much
        as over the one before, within a tenth.
    """
    losses = []
    for factor in (_FACTORS[0], *_FACTORS):
        with torch.enable_grad(), randomness_restored(), _Steeper(factor):
            torch.manual_seed(0)
            losses.append(float(forward(model, batch).detach().sum()))
    same, near, far, further = losses
    if same != near:
        return False
    first, second = near - far, far - further
    return first > 0 and abs(second / first / _SQUARE - 1) <= _WITHIN
