"""Layers that a watched model makes and drops in its forward pass, so that nothing can train them."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import nn

from trainability.doctor.batches import tensors


class MadeInside:
    """Notes modules that are no part of the model and run inside of its forward pass on what has a gradient.

    What nothing holds once the pass is over was made in it. A random layer in front of the trained ones, as of an augmentation,
    is given no gradient, and one that is made around the model's own weights drops none.

    Args:
        own: ids of the model's parameters.
    """

    def __init__(self, own: set[int]) -> None:
        self._own = own
        self._seen: dict[int, tuple[weakref.ref[nn.Module], tuple[tuple[int, ...], ...]]] = {}

    def see(self, module: nn.Module, args: Any) -> None:
        """Take a module that is no part of the model, as it has run."""
        weights = [p for p in module.parameters(recurse=False) if p.requires_grad and p.dim() > 1 and id(p) not in self._own]
        shapes = tuple(tuple(weight.shape) for weight in weights)
        if shapes and torch.is_grad_enabled() and any(tensor.requires_grad for _, tensor in tensors(args)):
            self._seen[id(module)] = weakref.ref(module), shapes

    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the weights of those that are gone; to be asked when the pass is over."""
        return tuple(shape for module, shapes in self._seen.values() if module() is None for shape in shapes)
