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


def named_players(value: Any) -> list[tuple[str, nn.Module]]:
    """As `players`, with names: keys of dicts ("nets.critic"), names of the parts, or `model K` of a tuple or list."""
    if not isinstance(value, nn.Module):
        return list(_named_modules(value, ""))
    parts = players(value)
    known = {id(part): name for name, part in value.named_children()}
    return [(known.get(id(part), "model"), part) for part in parts]


def _named_modules(value: Any, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    if isinstance(value, nn.Module):
        yield prefix or "model", value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _named_modules(item, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, tuple | list):
        for k, item in enumerate(value):
            yield from _named_modules(item, f"{prefix}.{k}" if prefix else f"model {k}")


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
