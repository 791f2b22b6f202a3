"""Terms of a loss that are computed from outputs and have no gradient: of classes or comparisons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import tensors
from trainability.doctor.measure.randomness import randomness_restored, seed_torch

_COMPARED = frozenset({"eq", "ne", "lt", "le", "gt", "ge", "greater", "less", "greater_equal", "less_equal", "not_equal"})
_STEPS = frozenset({"argmax", "argmin"}) | _COMPARED
_ADDED = frozenset({"add", "radd", "iadd", "sub", "rsub", "isub"})
_MOST_KEPT = 1 << 16  # tensors

Forward = Callable[[Any, Any], Tensor]


class _Steps(TorchFunctionMode):
    """Follows what is made of steps of numbers with a gradient, to where it is added to a loss.

    A step is left out where something with a gradient is made of it as well: what it chooses or masks is then trained, as in a
    Huber loss written by hand, whose constant part has no gradient either.

    Attributes:
        sums: single numbers with a gradient that were made of others by adding, by id, and these others.
        cuts: whether a number is added that was detached, as the value of a straight-through estimate is.
    """

    def __init__(self) -> None:
        super().__init__()
        self._steps: list[str] = []
        self._used: set[int] = set()  # places in `_steps`
        self._made: dict[int, tuple[Tensor, frozenset[int]]] = {}  # of which steps, without a gradient; kept alive
        self._cut: dict[int, Tensor] = {}
        self._added: list[tuple[Tensor, frozenset[int], float]] = []
        self.sums: dict[int, tuple[Tensor, list[Tensor]]] = {}
        self.cuts = False

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").strip("_")
        given = [t for _, t in tensors([args, kwargs or {}])]
        known = frozenset[int]().union(*(self._made[id(t)][1] for t in given if id(t) in self._made))
        is_sum = isinstance(result, Tensor) and result.numel() == 1 and name in _ADDED
        if any(id(t) in self._cut or (name == "detach" and t.requires_grad) for t in given):
            self._cut |= {id(t): t for _, t in tensors(result) if not t.requires_grad}
        if is_sum and result.requires_grad:
            self.sums[id(result)] = result, given
            self.cuts |= any(id(t) in self._cut for t in given)
            flat = [t for t in given if id(t) in self._made and t.numel() == 1 and not t.requires_grad]
            self._added += [(result, self._made[id(t)][1], float(t.detach())) for t in flat]
            return result
        made = [t for _, t in tensors(result)]
        if any(t.requires_grad for t in made):
            self._used |= known
        elif name in _STEPS and any(t.requires_grad for t in given):
            self._steps.append(name)
            known |= {len(self._steps) - 1}
        if known and len(self._made) < _MOST_KEPT:
            self._made |= {id(t): (t, known) for t in made if not t.requires_grad}
        return result

    def added(self) -> list[tuple[Tensor, str, float]]:
        """Sums, the step that a term of each was made of and nothing with a gradient, and the term's value."""
        alone = ((made, steps, value) for made, steps, value in self._added if not steps & self._used)
        return [(made, self._steps[min(steps)], value) for made, steps, value in alone]


def idle_term(model: nn.Module, batch: Any, forward: Forward) -> tuple[str, float] | None:
    """Look for a term of the loss that a step function of outputs gives, so that nothing in it has a gradient.

    Args:
        model: runs as it is.
        batch: of any structure.
        forward: of (model, batch), the loss.

    Returns:
        The step function, and the term over the loss; None where there is none, or it is zero.
    """
    steps = _Steps()
    with torch.enable_grad(), randomness_restored(), steps:
        seed_torch(0)
        loss = forward(model, batch)
    whole = abs(float(loss.detach().sum()))
    if steps.cuts:
        return None
    # What hands on one number, as `mean` of it, makes another.
    waiting, parts = [made for made, _ in steps.sums.values() if abs(float(made.detach())) == whole], set[int]()
    while waiting:
        term = waiting.pop()
        if id(term) not in parts:
            parts.add(id(term))
            waiting += [t for t in steps.sums.get(id(term), (term, []))[1] if t.requires_grad]
    found = [(step, abs(value) / max(whole, 1e-12)) for made, step, value in steps.added() if id(made) in parts and value]
    return max(found, key=lambda each: each[1]) if found else None
