"""Penalties on derivatives that are subtracted: the loss falls without end as the derivatives grow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from trainability.doctor.batches import tensors
from trainability.doctor.measure.constant_slopes import is_derivative, words_of
from trainability.doctor.measure.randomness import randomness_restored, seed_torch

_FACTORS = (1e3, 4e3, 1.6e4)  # so large that a penalty which wants a slope of one is a square, too
# What a loss loses over the second of these two stretches is four times what it loses over the first along a line, and sixteen
# times along a square.
_SQUARE, _WITHIN = 16.0, 0.1
_LAYERS = ("linear", "matmul", "__matmul__", "mm", "addmm", "bmm", "bilinear", "conv1d", "conv2d", "conv3d")


class _Steeper(TorchFunctionMode):
    """Gives the block each derivative that it takes for a graph, by something that is no parameter, times a factor.

    Attributes:
        goes_on: whether something that is made of one goes into a layer, whose own outputs may grow as they like.
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.goes_on = False
        self._factor = factor
        self._slopes: WeakIdKeyDictionary = WeakIdKeyDictionary()  # derivatives, and what is made of them

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if not is_derivative(func):
            with torch._C.DisableTorchFunction():
                self._follow(getattr(func, "__name__", ""), [tensor for _, tensor in tensors((args, kwargs))], found)
            return found
        words = words_of(args, kwargs or {})
        by = [words["inputs"]] if isinstance(words["inputs"], Tensor) else list(words["inputs"])
        if not words.get("create_graph") or any(isinstance(x, nn.Parameter) for x in by):
            return found
        steeper = tuple(g if g is None else g * self._factor for g in found)
        self._slopes |= {g: None for g in steeper if g is not None}
        return steeper

    def _follow(self, name: str, given: list[Tensor], made: Any) -> None:
        if any(tensor in self._slopes for tensor in given):
            self.goes_on |= name in _LAYERS and any(isinstance(tensor, nn.Parameter) for tensor in given)
            self._slopes |= {tensor: None for _, tensor in tensors(made) if tensor.requires_grad}


def falls_with_slopes(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> bool:
    """Whether the loss falls with the square of the derivatives that it takes, as one does from which a penalty is subtracted.

    Args:
        model: as in the loop, in train mode.
        batch: what it was asked.
        forward: of (model, batch), the loss.

    Returns:
        Whether it falls ever further as all derivatives grow by 1e3, 4e3 and 1.6e4, over the last stretch by 16 times as much
        as over the one before, within a tenth. Not where a derivative goes into a layer, as a transport map does.
    """
    losses = []
    for factor in (_FACTORS[0], *_FACTORS):
        with torch.enable_grad(), randomness_restored(), _Steeper(factor) as steeper:
            seed_torch(0)
            losses.append(float(forward(model, batch).detach().sum()))
        if steeper.goes_on:
            return False
    same, near, far, further = losses
    if same != near:
        return False
    first, second = near - far, far - further
    return first > 0 and abs(second / first / _SQUARE - 1) <= _WITHIN
