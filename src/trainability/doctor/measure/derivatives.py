"""Derivatives that a loss takes by itself, watched in one pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Derivatives:
    """Watches `torch.autograd.grad` inside the `with` block.

    Attributes:
        flat: whether something that is not zero was differentiated for a graph of its own, and every number of the result is
            exactly zero.
    """

    def __init__(self) -> None:
        self.flat = False

    def __enter__(self) -> Derivatives:
        self._own = torch.autograd.grad
        torch.autograd.grad = self._grad
        return self

    def __exit__(self, *details: Any) -> None:
        torch.autograd.grad = self._own

    def _grad(self, outputs: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        found = self._own(outputs, inputs, *args, **kwargs)
        if kwargs.get("create_graph"):
            given = [outputs] if isinstance(outputs, Tensor) else list(outputs)
            made = [gradient for gradient in found if gradient is not None]
            self.flat |= bool(made) and any(bool(t.any()) for t in given) and not any(bool(g.any()) for g in made)
        return found
