"""What functions of the program use: objects that they hold or name, functions that they call."""

import contextlib
import dis
import functools
import inspect
import sys
from collections.abc import Iterator, Sized
from types import CodeType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.nested import leaves, modules, optimizers

_MOST_HELD = 64  # items of a container in an object of the program's own, as of a replay buffer


def used_by(function: Any) -> list[Any]:
    """Objects with state that a function reaches by itself: through its closure, its globals, its defaults, its instance.

    So do the program's own functions that it calls by name. Of optimizers, what the program's own hooks of their steps reach.
    """
    if isinstance(function, torch.optim.Optimizer | dict | tuple | list):
        return [item for hook in step_hooks(function) for item in used_by(hook)]
    return [item for each in (function, *called_by(function)) for item in _used_by_itself(each)]


def called_by(function: Any) -> list[Any]:
    """The program's own functions that a function holds or calls by name, and those that they do, without itself."""
    found, waiting = {}, [plain_function(function)]
    while waiting:
        caller = waiting.pop()
        cells = [cell.cell_contents for cell in getattr(caller, "__closure__", None) or () if is_filled(cell)]
        space = getattr(caller, "__globals__", {})
        named = [space.get(name) for name in global_names(getattr(caller, "__code__", None))]
        own = [item for item in (*cells, *named) if inspect.isfunction(item) and not is_library(item)]
        new = [item for item in own if id(item) not in found and item is not plain_function(function)]
        found |= {id(item): item for item in new}
        waiting += new
    return list(found.values())


def plain_function(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__func__", function)


def is_library(function: Any) -> bool:
    """Whether a function is not the program's own: of an installed package, of Python itself, or of this library."""
    root, file = str(function.__module__).split(".")[0], function.__code__.co_filename
    return root in ("torch", "trainability", *sys.stdlib_module_names) or "-packages" in file


def global_names(code: CodeType | None) -> set[str]:
    """Names that code, and what is defined inside of it, looks up among the globals; attributes are not among them."""
    if code is None:
        return set()
    names = {str(line.argval) for line in dis.get_instructions(code) if line.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return names.union(*(global_names(part) for part in code.co_consts if isinstance(part, CodeType)))


def _used_by_itself(function: Any) -> list[Any]:
    if isinstance(function, functools.partial):
        return _stateful([*function.args, *function.keywords.values()]) + _used_by_itself(function.func)
    if inspect.ismethod(function):
        return _stateful([function.__self__, *vars(function.__self__).values()]) + _used_by_itself(function.__func__)
    if not inspect.isfunction(function):
        return _stateful(vars(function).values()) if hasattr(function, "__dict__") else []
    return _stateful(_held_by(function))


def _held_by(function: Any) -> list[Any]:
    """What a function holds: what it closes over, the globals that it names, defaults, and the attributes of its owner."""
    reached = [cell.cell_contents for cell in function.__closure__ or () if is_filled(cell)]
    reached += [function.__globals__[name] for name in function.__code__.co_names if name in function.__globals__]
    return [*reached, *(function.__defaults__ or ()), *vars(getattr(function, "__self__", object)).values()]


def _parameters_held_by(function: Any) -> Iterator[nn.Parameter]:
    """Parameters that a function holds by themselves, as a list of those that it clamps."""
    for each in (function, *called_by(function)):
        if inspect.isfunction(plain := plain_function(each)):
            yield from (item for item in leaves(_held_by(plain)) if isinstance(item, nn.Parameter))


def step_hooks(value: Any) -> list[Any]:
    """The program's own hooks of optimizers' steps, such as one that steps a scheduler; a copy of an optimizer has none."""
    found = [
        hook
        for optimizer in optimizers(value)
        for name in ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")
        for hook in getattr(optimizer, name, {}).values()
    ]
    return [hook for hook in found if not str(getattr(hook, "__module__", "")).startswith("trainability.")]


def reaches(function: Any, *objects: Any) -> bool:
    """Whether a function by itself reaches one of these models or optimizers, or its scheduler: it cannot be run on a copy.

    Nor can it where the program has hooks of the optimizers' steps, which no copy has, or where the function holds a part of a
    model, parameters of one in a list, or another optimizer over one: on a copy that part would stay as it is.
    """
    own = {id(item) for item in (*modules(objects), *optimizers(objects))}
    parts = {id(parameter) for model in modules(objects) for parameter in model.parameters()}
    if step_hooks(objects) or any(id(parameter) in parts for parameter in _parameters_held_by(function)):
        return True
    return any(
        id(item) in own or id(getattr(item, "optimizer", None)) in own or any(id(p) in parts for p in held_parameters(item))
        for item in used_by(function)
    )


def held_parameters(item: Any) -> Iterator[Tensor]:
    """Parameters of a module or an optimizer; of anything else none."""
    if isinstance(item, nn.Module):
        yield from item.parameters()
    elif isinstance(item, torch.optim.Optimizer):
        for group in item.param_groups:
            yield from group["params"]


def is_filled(cell: Any) -> bool:
    """Whether the cell of a closure has a value by now."""
    with contextlib.suppress(ValueError):
        return cell.cell_contents is not cell
    return False


def _stateful(values: Any, depth: int = 2) -> list[Any]:
    """Those that have a state to load, also where objects of the program's own classes hold them."""
    found: list[Any] = []
    for value in leaves(list(values)):
        if isinstance(value, type):
            continue
        if hasattr(value, "state_dict") and hasattr(value, "load_state_dict"):
            found.append(value)
        elif depth > 0 and is_own_object(value):
            small = (each for each in vars(value).values() if not (isinstance(each, Sized) and len(each) > _MOST_HELD))
            found += _stateful(small, depth - 1)
    return found


def is_own_object(value: Any) -> bool:
    """Whether an object is of a class of the program's own, which is no module and no optimizer."""
    if isinstance(value, nn.Module | torch.optim.Optimizer | type | ModuleType) or not hasattr(value, "__dict__"):
        return False
    functions = [each for each in vars(type(value)).values() if inspect.isfunction(each)]
    has_slots = any("__slots__" in vars(kind) for kind in type(value).__mro__[:-1])  # which `vars` does not show
    is_own = bool(functions) and not any(is_library(each) for each in functions)
    return is_own and not has_slots and not inspect.isroutine(value)
