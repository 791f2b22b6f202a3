"""Losses that add up along the batch, in the order of something that they do not read: times that were to be sorted first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import batch_size, map_parts, tensors
from trainability.doctor.measure.filled import given_to_modules
from trainability.doctor.measure.instead import exchanged
from trainability.doctor.measure.randomness import randomness_restored, seed_all

_ALONG = frozenset({"cumsum", "logcumsumexp", "cummax", "cummin", "cumprod"})
_FEWEST, _MOST_COLUMNS = 8, 4
_EXACT, _CHANGED = 1e-6, 1e-4  # of the loss
_DIFFERENT = 0.5  # of the rows, or more values

Forward = Callable[[Any, Any], Tensor]


class _Cumulated(TorchFunctionMode):
    """Whether something with a gradient is added up from example to example."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows, self.found = rows, False

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        words = kwargs or {}
        given, *rest = *args, None
        if getattr(func, "__name__", "") in _ALONG and isinstance(given, Tensor) and given.requires_grad:
            dim = words.get("dim", rest[0])
            self.found |= isinstance(dim, int) and given.dim() > 0 and given.shape[dim] == self.rows
        return func(*args, **words)


def unsorted_times(model: nn.Module, batch: Any, forward: Forward) -> tuple[str, float, float] | None:
    """Find numbers of the examples, as times of events, that a loss of risk sets was to sort by.

    Args:
        model: answers each example by itself.
        batch: of at least eight examples.
        forward: of (model, batch), the loss.

    Returns:
        The name of the numbers, the loss, and the loss in another order, where the loss adds up along the batch, is another for
        the same examples in another order, and stays as it is, exactly, where these numbers are exchanged among the examples;
        they are no input of the model, are different for most examples, and in no order. None otherwise.
    """
    rows = batch_size(batch)
    if rows is None or rows < _FEWEST:
        return None
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(0))

    def loss(given: Any) -> float:
        with torch.enable_grad(), randomness_restored():
            seed_all(0)
            return float(forward(model, given).detach().sum())

    with torch.enable_grad(), randomness_restored(), _Cumulated(rows) as cumulated:
        forward(model, batch)
    if not cumulated.found:
        return None
    own, moved = loss(batch), loss(_in_order(batch, order))
    if own != loss(batch) or abs(moved - own) <= _CHANGED * abs(own):
        return None
    inputs = given_to_modules(model, batch, forward)
    columns = list(_columns(batch, inputs))
    if any(_is_in_order(values) for _, _, values, _ in columns):
        return None
    for name, tensor, values, place in columns:
        if len(values.unique()) <= _DIFFERENT * rows:
            continue
        other = tensor.clone()
        other.view(rows, -1)[:, place] = values[order]
        if abs(loss(exchanged(batch, tensor, other)) - own) <= _EXACT * abs(own):
            return name, own, moved
    return None


def _columns(batch: Any, inputs: set[int]) -> Iterator[tuple[str, Tensor, Tensor, int]]:
    """Numbers of the examples that the model is not given, one for each, by name; their tensor, and their column in it."""
    for name, tensor in tensors(batch):
        width = tensor.numel() // len(tensor)
        is_given = tensor.data_ptr() in inputs
        if is_given or not tensor.is_floating_point() or tensor.dim() > 2 or width > _MOST_COLUMNS:
            continue
        for place in range(width):
            yield (name if width == 1 else f"{name}[:, {place}]"), tensor, tensor.reshape(len(tensor), -1)[:, place], place


def _is_in_order(values: Tensor) -> bool:
    steps = values.diff()
    return bool((steps >= 0).all()) or bool((steps <= 0).all())


def _in_order(batch: Any, order: Tensor) -> Any:
    return batch[order.to(batch.device)] if isinstance(batch, Tensor) else map_parts(batch, lambda part: _in_order(part, order))
