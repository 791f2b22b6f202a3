"""Weights with a distribution: how often the divergence from their prior counts in a loss, beside the examples' error."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.data import DataLoader

from trainability.doctor.batches import batch_size, first_examples, halves
from trainability.doctor.measure.randomness import randomness_restored

_FEWEST, _FEWEST_WEIGHTS = 16, 16
_NEAR = 0.1  # of a term, by which what is drawn anew may change it
_UNIFORM = 1e-3  # of a weight, between the parameters

Forward = Callable[[Any, Any], Tensor]


def prior_weight(model: nn.Module, batch: Any, forward: Forward, batches: Iterable[Any]) -> tuple[float, int] | None:
    """Read the weight of a divergence of the weights off the slope of the loss by the logarithms of their deviations.

    A term that depends on the weights alone is the same number for a batch and for its halves. In the divergence of a normal
    distribution from another, the logarithm of the deviation counts once, whatever the prior: its slope is minus the weight.

    Args:
        model: runs as it is; the caller puts modes, buffers and random state back.
        batch: that can be cut, of 16 examples and more.
        forward: of (model, batch), the loss.
        batches: the training loader, which knows its number of examples.

    Returns:
        How many times the divergence counts in a pass over the examples, where each example's error counts once, up to a
        factor of two where it is written by variances; and the number of examples. None where the loss has no such term.
    """
    size, parts = batch_size(batch), halves(batch)
    dataset = batches.dataset if isinstance(batches, DataLoader) else None
    examples = len(dataset) if dataset is not None and hasattr(dataset, "__len__") else 0  # type: ignore[arg-type]
    if size is None or parts is None or size < _FEWEST or examples < size:
        return None
    whole = _Terms.of(model, first_examples(batch, size // 2 * 2), forward)
    first, second = (_Terms.of(model, part, forward) for part in parts)
    if not len(whole.terms) == len(first.terms) == len(second.terms) > 1 or not whole.logarithms:
        return None
    alone: list[Tensor] = []
    of_batch = set[str]()
    for term, a, b in zip(whole.terms, first.terms, second.terms, strict=True):
        total, one, other = (float(t.detach()) for t in (term, a, b))
        if total == one == other:
            alone.append(term)
        elif abs(total - (one + other) / 2) <= _NEAR * abs(total):
            of_batch.add("mean")
        else:
            of_batch.add("sum" if abs(total - one - other) <= _NEAR * abs(total) else "other")
    if not alone or len(of_batch) != 1 or "other" in of_batch:
        return None
    total = torch.stack([term.flatten()[0] for term in alone]).sum()
    if not total.requires_grad:
        return None
    slopes = torch.autograd.grad(total, whole.logarithms, allow_unused=True)
    found = torch.cat([slope.flatten() for slope in slopes if slope is not None] or [torch.zeros(1)])
    weight = -float(found.mean())
    if len(found) < _FEWEST_WEIGHTS or not weight > 0 or float(found.std()) > _UNIFORM * weight:
        return None
    counted = weight * (examples if of_batch == {"mean"} else examples / size)
    return (counted, examples) if math.isfinite(counted) else None


class _Terms(TorchFunctionMode):
    """Keeps what is added to what, of single numbers with a gradient, and logarithms of what has one."""

    def __init__(self) -> None:
        super().__init__()
        self.terms: list[Tensor] = []
        self.logarithms: list[Tensor] = []
        self._added: dict[int, list[Tensor]] = {}
        self._results: list[Tensor] = []  # an id is one tensor's while it lives

    @classmethod
    def of(cls, model: nn.Module, batch: Any, forward: Forward) -> _Terms:
        """The terms that a loss is the sum of, and what was made of the batch on the way."""
        seen = cls()
        with torch.enable_grad(), randomness_restored(), seen:
            torch.manual_seed(0)
            loss = forward(model, batch)
        last = seen._results[-1] if seen._results else loss
        waiting = [last if float(last.detach()) == float(loss.detach()) else loss]  # what hands on one number makes another
        while waiting:
            term = waiting.pop()
            parts = seen._added.get(id(term))
            waiting += parts or []
            seen.terms += [] if parts else [term]
        return seen

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result, name = func(*args, **(kwargs or {})), getattr(func, "__name__", "").strip("_")
        if name in ("add", "radd", "iadd") and len(args) > 1:
            given = [x for x in args[:2] if isinstance(x, Tensor) and x.numel() == 1 and x.requires_grad]
            if len(given) == 2:
                self._added[id(result)] = given
                self._results.append(result)
        elif name in ("log", "log_") and isinstance(result, Tensor) and result.requires_grad:
            self.logarithms.append(result)
        return result
