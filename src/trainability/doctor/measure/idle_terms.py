"""Terms of a loss that are computed from outputs and have no gradient: of classes or comparisons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import tensors
from trainability.doctor.measure.randomness import randomness_restored

_COMPARED = frozenset({"eq", "ne", "lt", "le", "gt", "ge", "greater", "less", "greater_equal", "less_equal", "not_equal"})
_STEPS = frozenset({"argmax", "argmin", "isclose", "bucketize"}) | _COMPARED
_ADDED = frozenset({"add", "radd", "iadd", "sub", "rsub", "isub"})
_MOST_KEPT = 1 << 16  # tensors

Forward = Callable[[Any, Any], Tensor]


class _Steps(TorchFunctionMode):
    """Follows what is made of steps of numbers with a gradient, to where it is added to a loss.

    Attributes:
        added: sums, the step that a term of each was made of, and the term's value.
        sums: single numbers with a gradient that were made of others by adding, by id, and these others.
    """

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[int, tuple[Tensor, str]] = {}  # of steps, without a gradient; kept alive
        self.added: list[tuple[Tensor, str, float]] = []
        self.sums: dict[int, tuple[Tensor, list[Tensor]]] = {}

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").strip("_")
        given = [t for _, t in tensors([args, kwargs or {}])]
        known = next((self._made[id(t)][1] for t in given if id(t) in self._made), None)
        follows = any(t.requires_grad for t in given)
        step = name if name in _STEPS and follows else known
        if isinstance(result, Tensor) and result.requires_grad and result.numel() == 1 and name in _ADDED:
            self.sums[id(result)] = result, given
            flat = [t for t in given if id(t) in self._made and t.numel() == 1]
            if flat:
                self.added.append((result, self._made[id(flat[0])][1], float(flat[0].detach())))
        elif step is not None and len(self._made) < _MOST_KEPT:
            made = {id(t): (t, step) for _, t in tensors(result) if not t.requires_grad}
            self._made |= made
        return result


def idle_term(model: nn.Module, batch: Any, forward: Forward) -> tuple[str, float] | None:
    """Look for a term of the loss that a step function of outputs gives, so that nothing in it has a gradient.

    Args:
        model: runs as it is.
        batch: of any structure.
        forward: of (model, batch), the loss.

    Returns:
        The step function, and the term's share of the loss; None where there is none, or it is zero.
    """
    steps = _Steps()
    with torch.enable_grad(), randomness_restored(), steps:
        torch.manual_seed(0)
        loss = forward(model, batch)
    whole = abs(float(loss.detach().sum()))
    # What hands on one number, as `mean` of it, makes another.
    waiting, parts = [made for made, _ in steps.sums.values() if abs(float(made.detach())) == whole], set[int]()
    while waiting:
        term = waiting.pop()
        if id(term) not in parts:
            parts.add(id(term))
            waiting += [t for t in steps.sums.get(id(term), (term, []))[1] if t.requires_grad]
    found = [(step, abs(value) / max(whole, 1e-12)) for made, step, value in steps.added if id(made) in parts and value != 0]
    return max(found, key=lambda each: each[1]) if found else None
