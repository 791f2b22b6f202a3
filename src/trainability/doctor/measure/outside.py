"""What functions hold outside of the objects that are copied: generators, counters, lists and dicts in closures and globals."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from trainability.doctor.measure.own_generators import generator_kept

_LIBRARIES = ("torch", "numpy", "builtins", "functools", "trainability")
_REBOUND = (int, float, complex, str, bytes, tuple, frozenset, type(None), Tensor)
_MOST_FUNCTIONS = 200


def plain_function(function: Any) -> Any:
    """The Python function inside of `functools.partial` objects and bound methods; None where there is none."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif inspect.ismethod(function):
            function = function.__func__
        else:
            return function if inspect.isfunction(function) else None


def functions_of(model: nn.Module) -> list[Any]:
    """What a model's forward pass may run: `forward` of its modules, functions that they hold, their hooks."""
    found: list[Any] = []
    for module in model.modules():
        found += [getattr(type(module), "forward", None), *vars(module).values()]
        found += [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]
    return found


@contextlib.contextmanager
def outside_restored(model: nn.Module, *functions: Any) -> Iterator[None]:
    """Put back what a model's forward pass and other functions change outside of their arguments, as far as it can be seen:
    numbers, lists, dicts, sets and generators that they name, in closures, globals and the classes of modules.
    """
    restore: list[Callable[[], None]] = []
    queue = [plain_function(function) for function in (*functions_of(model), *functions)]
    seen: set[int] = set()
    while queue and len(seen) < _MOST_FUNCTIONS:
        function = queue.pop()
        if function is None or id(function) in seen or str(function.__module__).split(".")[0] in _LIBRARIES:
            continue
        seen.add(id(function))
        for cell in function.__closure__ or ():
            with contextlib.suppress(ValueError):  # a cell that is not filled yet
                value = cell.cell_contents
                restore += _kept(value, functools.partial(setattr, cell, "cell_contents"), queue)
        for name in function.__code__.co_names:
            if name in function.__globals__:
                put = functools.partial(function.__globals__.__setitem__, name)
                restore += _kept(function.__globals__[name], put, queue)
    for owner in {type(module) for module in model.modules()}:
        if owner.__module__.split(".")[0] not in _LIBRARIES:
            for name, value in list(vars(owner).items()):
                if not name.startswith("__"):
                    restore += _kept(value, functools.partial(setattr, owner, name), None)
    try:
        yield
    finally:
        for action in restore:
            action()


def _kept(value: Any, put: Callable[[Any], None], queue: list[Any] | None) -> list[Callable[[], None]]:
    if type(value) is list:
        return [functools.partial(_refill, value, list(value))]
    if type(value) in (dict, set):
        return [functools.partial(_refill, value, value.copy())]
    if (kept := generator_kept(value)) is not None:
        return [kept]
    if isinstance(value, _REBOUND):
        return [functools.partial(put, value)]
    if queue is not None and (inner := plain_function(value)) is not None:
        queue.append(inner)
    return []


def _refill(container: Any, values: Any) -> None:
    if len(container) == len(values) and all(a is b for a, b in zip(_items(container), _items(values), strict=True)):
        return
    container.clear()
    container.extend(values) if isinstance(container, list) else container.update(values)


def _items(container: Any) -> Iterator[Any]:
    if isinstance(container, dict):
        for key, value in container.items():
            yield key
            yield value
    else:
        yield from container
