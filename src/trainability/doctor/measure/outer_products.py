"""Factors of each example that a loss multiplies all with all, (n,) by (n, 1), before it takes one mean of the products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import batch_size, first_examples
from trainability.doctor.measure.randomness import randomness_restored

_FEWEST = 8  # examples
_PRODUCTS = frozenset({"mul", "rmul", "multiply", "div", "truediv", "divide"})
# What leaves a table of all pairs one of all pairs: of one table, of several of them, or of one and single numbers.
_ALONG = _PRODUCTS | {"neg", "negative", "add", "radd", "sub", "rsub", "clamp", "clip", "min", "minimum", "max", "maximum"}
_REDUCES = frozenset({"mean", "sum"})

Forward = Callable[[Any, Any], Tensor]


class OuterProducts(TorchFunctionMode):
    """Follows products of (n,) and (n, 1), of which a gradient is to come back, to a mean or a sum that is one number.

    Pairs that are meant do not end so: a mean of all products is the product of both means, whatever stands beside what.

    Attributes:
        found: n, and the mean of the factor without a gradient over its rms (1 where both have one); None if there is none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: tuple[int, float] | None = None
        self._tables: dict[int, tuple[Tensor, float]] = {}  # kept alive, so that an id is one tensor's

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.found is None and isinstance(result, Tensor) and result.requires_grad:
            self._follow(getattr(func, "__name__", "").strip("_"), [a for a in args if isinstance(a, Tensor)], result)
        return result

    def _follow(self, name: str, given: list[Tensor], result: Tensor) -> None:
        tables = [self._tables[id(t)] for t in given if id(t) in self._tables]
        if name in _REDUCES and tables and result.dim() == 0:
            self.found = len(tables[0][0]), tables[0][1]
        elif name in _PRODUCTS and len(given) == 2 and _are_row_and_column(*given):
            fixed = next((t for t in given if not t.requires_grad), None)
            self._tables[id(result)] = result, 1.0 if fixed is None else _balance(fixed)
        elif name in _ALONG and tables and len(tables) == sum(t.dim() > 0 for t in given):
            self._tables[id(result)] = result, tables[0][1]


def _are_row_and_column(a: Tensor, b: Tensor) -> bool:
    size = a.numel()
    return size >= _FEWEST and {tuple(a.shape), tuple(b.shape)} == {(size,), (size, 1)}


def _balance(factor: Tensor) -> float:
    values = factor.detach().double()
    return float(values.mean().abs() / values.square().mean().sqrt().clamp(min=1e-30))


def outer_product(model: nn.Module, batch: Any, forward: Forward, seen: OuterProducts) -> tuple[int, float] | None:
    """Ask again with one example less: factors of examples are one less, too, and bins, experts or times as many as before.

    Args:
        model: as in the loop, in train mode with dropout off.
        batch: what was looked at.
        forward: of (model, batch), the loss.
        seen: the pass on the whole batch.

    Returns:
        `OuterProducts.found`; None where a smaller batch shows as many factors. A batch that cannot be cut is taken as it is.
    """
    size = batch_size(batch)
    if seen.found is None or size is None or size <= _FEWEST:
        return seen.found
    smaller = first_examples(batch, size - 1)
    if batch_size(smaller) != size - 1:
        return seen.found
    again = OuterProducts()
    with torch.enable_grad(), randomness_restored(), again:
        forward(model, smaller)
    return seen.found if again.found is not None and again.found[0] < seen.found[0] else None
