"""Modules and optimizers in a structure of dicts, tuples and lists."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn


def modules(value: Any) -> list[nn.Module]:
    """Modules of a structure of dicts, tuples and lists, in order."""
    return [item for item in leaves(value) if isinstance(item, nn.Module)]


def players(value: Any) -> list[nn.Module]:
    """The networks of such a structure; of one module with several parts that have weights, these parts."""
    if not isinstance(value, nn.Module):
        return modules(value)
    parts = [part for part in value.children() if next(part.parameters(), None) is not None]
    return parts if len(parts) > 1 else [value]


def optimizers(value: Any) -> list[torch.optim.Optimizer]:
    """Optimizers of such a structure; an object that wraps one (Accelerate's), or holds several, is unwrapped."""
    found = []
    for item in leaves(value):
        while isinstance(getattr(item, "optimizer", None), torch.optim.Optimizer) and not hasattr(item, "last_epoch"):
            item = item.optimizer
        if isinstance(item, torch.optim.Optimizer):
            found.append(item)
        elif callable(getattr(item, "zero_grad", None)) and callable(getattr(item, "step", None)):
            held = [part for part in leaves(getattr(item, "__dict__", {})) if isinstance(part, torch.optim.Optimizer)]
            found += {id(part): part for part in held}.values()  # one may be held under several names
    return found


def leaves(value: Any) -> Iterator[Any]:
    """What such a structure holds, in order; None is left out."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        for item in value:
            yield from leaves(item)
    elif value is not None:
        yield value
