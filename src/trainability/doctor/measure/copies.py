"""Copies of models and optimizers that belong together, and originals that are put back."""

import contextlib
import copy
import dis
import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from types import CodeType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.grad_mode import _unsafe_preserve_version_counter

from trainability.doctor.error_line import error_line
from trainability.doctor.measure.graph import parameters_behind
from trainability.doctor.measure.uninterrupted import uninterrupted


def copied(*objects: Any) -> tuple[Any, ...]:
    """Copy models, optimizers, schedulers in one go, so that each copy refers to the others and not to the originals.

    Raises:
        ValueError: one of them cannot be copied; the message says what `copy.deepcopy` said.
    """
    memo: dict[int, Any] = {}
    for item in _leaves(objects):
        # An optimizer by type whose constructor was never called: torch's copying patches the step of its class, for good.
        is_wrapper = isinstance(item, torch.optim.Optimizer) and not hasattr(item, "_optimizer_step_pre_hooks")
        if is_wrapper and type(item).__setstate__ is torch.optim.Optimizer.__setstate__:
            raise ValueError(f"the optimizer cannot be copied: {type(item).__name__} wraps another one")
    own = {id(p) for model in modules(objects) for p in model.parameters()}
    for model in modules(objects):
        for module in model.modules():
            if isinstance(module, torch.jit.ScriptModule):
                raise ValueError(
                    "the model cannot be copied: the forward pass of a ScriptModule's copy uses the original's weights"
                )
            if (holder := _uses_by_closure(module, own)) is not None:
                raise ValueError(f"the model cannot be copied: its {holder} uses layers of the original by a closure")
            for value in vars(module).values():  # weights that weight norm computed, which deepcopy refuses
                if isinstance(value, Tensor) and not value.is_leaf:
                    memo[id(value)] = value.detach().clone().requires_grad_(_is_made_of_strangers(value, own))
    try:
        twins = tuple(copy.deepcopy(item, memo) for item in objects)
        for original, twin in zip(optimizers(objects), optimizers(twins), strict=True):
            for name, value in vars(original).items():  # an optimizer copies its groups and state, not what else it holds
                if name not in vars(twin) and name != "step":
                    setattr(twin, name, copy.deepcopy(value, memo))
    except Exception as error:
        raise ValueError(f"the model and its optimizer cannot be copied: {error_line(error)}") from error
    return twins


def _uses_by_closure(module: nn.Module, own: set[int]) -> str | None:
    """The attribute of a module with a function that holds parameters of the model: a copy would share the function."""
    for name, value in vars(module).items():
        for function in _functions_in(value, depth=2):
            if any(id(p) in own for held in used_by(function) for p in (held, *_parameters(held))):
                return name
    return None


def _functions_in(value: Any, depth: int) -> Iterator[Any]:
    """The program's own functions in containers, so deep: an attribute may hold a whole data set, or itself."""
    function = value.func if isinstance(value, functools.partial) else value
    if inspect.isfunction(function):
        if not _is_library(function):
            yield function
    elif depth and isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _functions_in(item, depth - 1)


def _is_made_of_strangers(value: Tensor, own: set[int]) -> bool:
    """Whether a tensor is made of parameters that are nobody's, as by `nn.Parameter(table).float()`: it is one in the copy."""
    behind = {id(parameter) for parameter in parameters_behind(value)}
    return bool(behind) and behind.isdisjoint(own)


def on_copy_or_in_place(
    run: Callable[..., dict[str, Any]],
    objects: tuple[Any, ...],
    reached: tuple[Any, ...],
    in_place: bool,
    num_kept: int,
) -> tuple[bool, dict[str, Any]]:
    """Runs on a copy of the objects, or on themselves where the loop reaches them or no copy runs; returns whether in place.

    Where the reference is of several batches, a copy that fails is tried with one alone: a queue takes so many rows at a time.
    """
    notes: list[str] = []
    for most in () if in_place else (None, 1)[:num_kept]:
        try:
            return False, run(copied(*objects), reached, most)
        except Exception as error:  # the copy may be at fault; what fails in place, too, is the program's own mistake
            notes = [f"on a copy: {error_line(error)}"]
    found = run(objects, (*reached, *objects))
    return True, {**found, "notes": (*notes, *found["notes"])}


def modules(value: Any) -> list[nn.Module]:
    """Modules of a structure of dicts, tuples and lists, in order."""
    return [item for item in _leaves(value) if isinstance(item, nn.Module)]


def optimizers(value: Any) -> list[torch.optim.Optimizer]:
    """Optimizers of such a structure; one that wraps another (Accelerate's) is unwrapped."""
    found = []
    for item in _leaves(value):
        while isinstance(getattr(item, "optimizer", None), torch.optim.Optimizer) and not hasattr(item, "last_epoch"):
            item = item.optimizer
        if isinstance(item, torch.optim.Optimizer):
            found.append(item)
    return found


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        for item in value:
            yield from _leaves(item)
    elif value is not None:
        yield value


def used_by(function: Any) -> list[Any]:
    """Objects with state that a function reaches by itself: through its closure, its globals, its defaults, its instance.

    So do the program's own functions that it calls by name. Of optimizers, what the program's own hooks of their steps reach.
    """
    if isinstance(function, torch.optim.Optimizer | dict | tuple | list):
        return [item for hook in step_hooks(function) for item in used_by(hook)]
    return [item for each in (function, *called_by(function)) for item in _used_by_itself(each)]


def called_by(function: Any) -> list[Any]:
    """The program's own functions that a function holds or calls by name, and those that they do, without itself."""
    found, waiting = {}, [_plain(function)]
    while waiting:
        caller = waiting.pop()
        cells = [cell.cell_contents for cell in getattr(caller, "__closure__", None) or () if _filled(cell)]
        space = getattr(caller, "__globals__", {})
        named = [space.get(name) for name in _global_names(getattr(caller, "__code__", None))]
        own = [item for item in (*cells, *named) if inspect.isfunction(item) and not _is_library(item)]
        new = [item for item in own if id(item) not in found and item is not _plain(function)]
        found |= {id(item): item for item in new}
        waiting += new
    return list(found.values())


def _plain(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__func__", function)


def _is_library(function: Any) -> bool:
    root, file = str(function.__module__).split(".")[0], function.__code__.co_filename
    return root in ("torch", "trainability", *sys.stdlib_module_names) or "-packages" in file


def _global_names(code: CodeType | None) -> set[str]:
    """Names that code, and what is defined inside of it, looks up among the globals; attributes are not among them."""
    if code is None:
        return set()
    names = {str(line.argval) for line in dis.get_instructions(code) if line.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return names.union(*(_global_names(part) for part in code.co_consts if isinstance(part, CodeType)))


def _used_by_itself(function: Any) -> list[Any]:
    if isinstance(function, functools.partial):
        return _stateful([*function.args, *function.keywords.values()]) + _used_by_itself(function.func)
    if inspect.ismethod(function):
        return _stateful([function.__self__, *vars(function.__self__).values()]) + _used_by_itself(function.__func__)
    if not inspect.isfunction(function):
        return _stateful(vars(function).values()) if hasattr(function, "__dict__") else []
    reached = [cell.cell_contents for cell in function.__closure__ or () if _filled(cell)]
    reached += [function.__globals__[name] for name in function.__code__.co_names if name in function.__globals__]
    reached += list(function.__defaults__ or ())
    return _stateful(reached)


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
    model or another optimizer over one: on a copy that part would stay as it is.
    """
    own = {id(item) for item in (*modules(objects), *optimizers(objects))}
    parts = {id(parameter) for model in modules(objects) for parameter in model.parameters()}
    return bool(step_hooks(objects)) or any(
        id(item) in own or id(getattr(item, "optimizer", None)) in own or any(id(p) in parts for p in _parameters(item))
        for item in used_by(function)
    )


def _parameters(item: Any) -> Iterator[Tensor]:
    """Of a module or an optimizer; of anything else none."""
    if isinstance(item, nn.Module):
        yield from item.parameters()
    elif isinstance(item, torch.optim.Optimizer):
        for group in item.param_groups:
            yield from group["params"]


def keep_variables(*functions: Any) -> Callable[[], None]:
    """Remember what functions keep between calls; call what it returns to put it back.

    Closed-over and global variables and attributes are bound again to what they were bound to, and a dict or list among them
    holds what it held: a hidden state that is carried along, a count of batches. Values that are changed in place otherwise are
    the caller's (see `put_back`). So for the program's own functions that they call by name.
    """
    restore: list[Callable[[], None]] = []
    for function in [each for given in functions for each in (given, *called_by(given))]:
        while isinstance(function, functools.partial):
            function = function.func
        owner = getattr(function, "__self__", None)
        function = getattr(function, "__func__", function)
        held = vars(owner) if hasattr(owner, "__dict__") and not isinstance(owner, nn.Module) else {}
        if held:
            restore.append(functools.partial(held.update, dict(held)))
        cells = [cell for cell in getattr(function, "__closure__", None) or () if _filled(cell)]
        restore += [functools.partial(setattr, cell, "cell_contents", cell.cell_contents) for cell in cells]
        names = getattr(getattr(function, "__code__", None), "co_names", ())
        seen = {name: function.__globals__[name] for name in names if name in function.__globals__}
        if seen:
            restore.append(functools.partial(function.__globals__.update, seen))
        for value in [*(cell.cell_contents for cell in cells), *seen.values(), *held.values()]:
            if type(value) is dict:
                restore.append(functools.partial(_refill_dict, value, dict(value)))
            elif type(value) is list:
                restore.append(functools.partial(value.__setitem__, slice(None), list(value)))

    def put_back() -> None:
        for action in restore:
            action()

    return put_back


@contextlib.contextmanager
def variables_put_back(*functions: Any) -> Iterator[None]:
    """Put back what functions keep between calls (see `keep_variables`), also after an exception."""
    restore = keep_variables(*functions)
    try:
        yield
    finally:
        with uninterrupted():
            restore()


def _refill_dict(value: dict[Any, Any], old: dict[Any, Any]) -> None:
    value.clear()
    value.update(old)


def _filled(cell: Any) -> bool:
    with contextlib.suppress(ValueError):
        return cell.cell_contents is not cell
    return False


def _stateful(values: Any) -> list[Any]:
    return [
        v
        for v in _leaves(list(values))
        if hasattr(v, "state_dict") and hasattr(v, "load_state_dict") and not isinstance(v, type)
    ]


@contextlib.contextmanager
def put_back(*objects: Any) -> Iterator[None]:
    """Put models, optimizers and whatever else has a `state_dict` back as they were, bit for bit, also after an exception.

    Parameters, buffers, gradients and the tensors of an optimizer's state stay the same tensors. Their values are kept on the
    host meanwhile, so that a second copy need not fit the device. Other attributes of a module are the same objects again; what
    changed inside them (a list that grew) is not seen.
    """
    restore = [_module_state(model) for model in modules(objects)]
    restore += [_optimizer_state(optimizer) for optimizer in optimizers(objects)]
    known = {id(item) for item in (*modules(objects), *optimizers(objects))}
    for item in _leaves(objects):
        if id(item) not in known and not optimizers(item) and hasattr(item, "state_dict"):
            restore.append(functools.partial(item.load_state_dict, copy.deepcopy(item.state_dict())))
    try:
        yield
    finally:
        with uninterrupted(), torch.no_grad():
            for action in restore:
                action()


@contextlib.contextmanager
def versions_kept(model: nn.Module) -> Iterator[None]:
    """Let a graph that was made before go through backward after a block that changed values of a model and put them back.

    Autograd counts changes of a tensor that it has saved, and refuses a graph behind one although its values are the old ones.
    """
    values = tuple(t for t in (*model.parameters(), *model.buffers()) if not (nn.parameter.is_lazy(t) or t.is_inference()))
    with _unsafe_preserve_version_counter(values):
        yield


def _module_state(model: nn.Module) -> Callable[[], None]:
    tensors = [(t, _kept(t)) for t in (*model.parameters(), *model.buffers()) if not nn.parameter.is_lazy(t)]
    parameters = list(model.parameters())
    gradients = [(p, p.grad, None if p.grad is None else _kept(p.grad), p.requires_grad) for p in parameters]
    modes = [(module, module.training) for module in model.modules()]
    put_attributes_back = keep_attributes(model)

    def restore() -> None:
        put_attributes_back()
        for module, training in modes:
            module.training = training
        _write(tensors)
        for p, gradient, values, requires in gradients:
            if gradient is not None and values is not None:
                gradient.copy_(values)
            p.grad = gradient
            if p.requires_grad != requires:
                p.requires_grad_(requires)

    return restore


def keep_attributes(model: nn.Module) -> Callable[[], None]:
    """Remembers the attributes of a model's modules (a hidden state, a count); call what it returns to put them back.

    The values of parameters and buffers are not among them.
    """
    held = [
        (module, type(module), dict(vars(module)), [(part, part.copy()) for part in _registries(module)])
        for module in model.modules()
        if not isinstance(module, torch.jit.ScriptModule)  # its attributes are not Python's
    ]

    def restore() -> None:
        for module, kind, attributes, registries in held:
            if type(module) is not kind:  # a lazy module that got its weights
                continue
            vars(module).clear()
            vars(module).update(attributes)
            for part, entries in registries:
                part.clear()
                part.update(entries)

    return restore


def _registries(module: nn.Module) -> list[Any]:
    return [module._parameters, module._buffers, module._modules]


def _optimizer_state(optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    put_groups_back = keep_groups(optimizer)
    state = {p: dict(entries) for p, entries in optimizer.state.items()}
    tensors = [(value, _kept(value)) for entries in state.values() for value in entries.values() if isinstance(value, Tensor)]
    others = {p: copy.deepcopy({n: v for n, v in entries.items() if not isinstance(v, Tensor)}) for p, entries in state.items()}

    def restore() -> None:
        put_groups_back()
        _write(tensors)
        optimizer.state.clear()
        optimizer.state.update({p: {**entries, **others[p]} for p, entries in state.items()})

    return restore


def keep_groups(optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    """Remember an optimizer's learning rates and other settings; call what it returns to put them back."""
    groups = [
        {name: _kept_value(value) for name, value in group.items() if name != "params"} for group in optimizer.param_groups
    ]

    def restore() -> None:
        for group, old in zip(optimizer.param_groups, groups, strict=True):
            for name in [name for name in group if name != "params" and name not in old]:
                del group[name]
            for name, value in old.items():
                if isinstance(value, Tensor) and isinstance(group[name], Tensor):
                    group[name].copy_(value)  # a rate that is a tensor stays that tensor
                else:
                    group[name] = value

    return restore


def _kept_value(value: Any) -> Any:
    return _kept(value) if isinstance(value, Tensor) else copy.deepcopy(value)


def _kept(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True)


def _write(tensors: Sequence[tuple[Tensor, Tensor]]) -> None:
    for tensor, value in tensors:
        if tensor.shape == value.shape:
            tensor.detach().copy_(value)
        else:  # resized meanwhile
            tensor.data = value.to(tensor.device)
