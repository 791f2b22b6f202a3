"""Generators of random numbers that a loader's own objects hold: samplers, datasets, transforms, functions that collate."""

from __future__ import annotations

import contextlib
import functools
import inspect
import random
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.uses import is_filled, is_library

_MOST_OBJECTS, _MOST_DEPTH, _FEW = 200, 5, 32
_PLAIN = {str, bytes, int, float, bool, type(None), Tensor}


def generators_kept(loader: Any) -> list[Callable[[], Any]]:
    """Remember the generators that reading a loader may draw from, beside the global ones.

    Looked at are attributes of the loader's own objects and of those of `torch.utils.data`, short lists and dicts of them, and
    what their methods and functions close over or name: `torch.Generator`, NumPy's and Python's.

    Returns:
        What puts them back.
    """
    restore: list[Callable[[], Any]] = []
    seen: set[int] = set()
    queue: list[tuple[Any, int]] = [(loader, 0)]
    while queue and len(seen) < _MOST_OBJECTS:
        value, depth = queue.pop(0)
        if id(value) in seen or type(value) in _PLAIN:
            continue
        seen.add(id(value))
        with contextlib.suppress(Exception):  # an attribute that computes; random.SystemRandom has no state
            if (kept := generator_kept(value)) is not None:
                restore.append(kept)
            elif depth < _MOST_DEPTH:
                queue += [(inner, depth + 1) for inner in _inside(value)]
    return restore


def generator_kept(value: Any) -> Callable[[], Any] | None:
    """What puts a generator back as it is now; None of anything else."""
    if isinstance(value, torch.Generator):
        return functools.partial(value.set_state, value.get_state())
    if isinstance(value, random.Random):
        return functools.partial(value.setstate, value.getstate())
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.random.Generator):
        return functools.partial(setattr, value.bit_generator, "state", value.bit_generator.state)
    if numpy is not None and isinstance(value, numpy.random.RandomState):
        return functools.partial(value.set_state, value.get_state())
    return None


def _inside(value: Any) -> list[Any]:
    if isinstance(value, tuple | list | dict):
        return list(value.values() if isinstance(value, dict) else value) if len(value) <= _FEW else []
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if inspect.ismethod(value):
        return [value.__self__, value.__func__]
    if inspect.isfunction(value):
        if is_library(value):
            return []
        cells = [cell.cell_contents for cell in value.__closure__ or () if is_filled(cell)]
        named = [value.__globals__[name] for name in value.__code__.co_names if name in value.__globals__]
        return [*cells, *named, *(value.__defaults__ or ())]
    if type(value).__module__.startswith("torch.utils.data"):
        return list(vars(value).values())
    if isinstance(value, nn.Module | torch.optim.Optimizer | type | ModuleType):
        return []
    methods = [each for kind in type(value).__mro__ for each in vars(kind).values() if inspect.isfunction(each)]
    own = [each for each in methods if not is_library(each)]
    return [*getattr(value, "__dict__", {}).values(), *own] if own else []
