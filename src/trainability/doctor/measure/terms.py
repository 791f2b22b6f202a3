"""The terms that a loss is the sum of, and the logarithms that they are made of, as one pass computes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.measure.randomness import randomness_restored, seed_torch

_ADDED, _TAKEN_OFF = ("add", "radd", "iadd"), ("sub", "rsub")


class Terms(TorchFunctionMode):
    """Keeps what is added to what, of single numbers with a gradient.

    Attributes:
        loss: what the pass came to.
        logarithms: of what has a gradient.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loss = torch.zeros(())
        self.logarithms: list[Tensor] = []
        self._added: list[tuple[str, list[Tensor], Tensor]] = []  # by which function, two terms, and the result

    @classmethod
    def of(cls, model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> Terms:
        """Run a loss once; random numbers are those of any other run."""
        seen = cls()
        with torch.enable_grad(), randomness_restored(), seen:
            seed_torch(0)
            seen.loss = forward(model, batch)
        return seen

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name = getattr(func, "__name__", "").strip("_")
        given = [x for x in args[:2] if isinstance(x, Tensor) and x.numel() == 1 and x.requires_grad]
        is_sum = name in (*_ADDED, *_TAKEN_OFF) and len(given) == 2
        before = given[0].clone() if is_sum and name != "rsub" else None
        result = func(*args, **(kwargs or {}))
        if is_sum:
            if before is not None and result is given[0]:  # in place, as of `total += term`: it was another term until now
                self._rename(result, before)
                given[0] = before
            self._added.append((name, given, result))
        elif name == "log" and isinstance(result, Tensor) and result.requires_grad:
            self.logarithms.append(result)
        return result

    def _rename(self, tensor: Tensor, other: Tensor) -> None:
        self._added = [
            (by, [other if term is tensor else term for term in terms], other if made is tensor else made)
            for by, terms, made in self._added
        ]

    def all(self) -> list[Tensor]:
        """What was added or taken off anywhere, and is no sum itself, in order."""
        results = {id(result) for _, _, result in self._added}
        return [term for _, given, _ in self._added for term in given if id(term) not in results]

    def of_loss(self) -> list[Tensor]:
        """What the loss is the sum of."""
        sums = {id(result): given for name, given, result in self._added if name in _ADDED}
        last = self._added[-1][2] if self._added else self.loss
        # What hands on one number makes another.
        waiting = [last if float(last.detach().sum()) == float(self.loss.detach().sum()) else self.loss]
        found = []
        while waiting:
            term = waiting.pop()
            parts = sums.get(id(term))
            waiting += parts or []
            found += [] if parts else [term]
        return found
