"""Models, optimizers and variables of functions that are put back as they were."""

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.grad_mode import _unsafe_preserve_version_counter
from torch.nn import functional as F

from trainability.doctor.measure.nested import leaves, modules, optimizers
from trainability.doctor.measure.uninterrupted import uninterrupted
from trainability.doctor.measure.uses import called_by, is_filled, is_own_object

_SMALL, _MOST_ITEMS = 1 << 16, 64  # numbers of a tensor; values of a list


def keep_variables(*functions: Any) -> Callable[[], None]:
    """Remember what functions keep between calls; call what it returns to put it back.

    Closed-over and global variables and attributes are bound again to what they were bound to, and a dict or list among them
    holds what it held: a hidden state that is carried along, a count of batches. So does an object of one of the program's own
    classes that holds numbers, small tensors and PyTorch's losses alone, such as running means by which a loss is weighted.
    Values that are changed in place otherwise are the caller's (see `put_back`). So for the program's own functions that they
    call by name.
    """
    restore: list[Callable[[], None]] = []
    objects: dict[int, Any] = {}
    for function in [each for given in functions for each in (given, *called_by(given))]:
        while isinstance(function, functools.partial):
            function = function.func
        if is_own_object(function) and id(function) not in objects:  # that is called, and counts in its attributes
            objects[id(function)] = function
            restore.append(_object_state(function))
        owner = getattr(function, "__self__", None)
        function = getattr(function, "__func__", function)
        held = vars(owner) if hasattr(owner, "__dict__") and not isinstance(owner, nn.Module) else {}
        if held:
            restore.append(functools.partial(held.update, dict(held)))
        cells = [cell for cell in getattr(function, "__closure__", None) or () if is_filled(cell)]
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
            elif is_own_object(value) and id(value) not in objects:
                objects[id(value)] = value
                restore.append(_object_state(value))

    def put_back() -> None:
        for action in restore:
            action()

    return put_back


def _object_state(value: Any) -> Callable[[], None]:
    """Remember the attributes of an object that holds numbers, small tensors and losses alone; any other is left as it becomes.

    Half of a state put back is worse than none: an iterator, a queue or an environment moves on.
    """
    held = vars(value)
    if not all(map(_is_plain, held.values())):
        return lambda: None
    inside = [(each, each.detach().clone()) for each in leaves(list(held.values())) if isinstance(each, Tensor)]
    restore = [functools.partial(_refill_dict, held, dict(held))]
    for each in held.values():
        if type(each) is dict:
            restore.append(functools.partial(_refill_dict, each, dict(each)))
        elif type(each) is list:
            restore.append(functools.partial(each.__setitem__, slice(None), list(each)))

    def refill() -> None:
        for action in restore:
            action()
        for tensor, old in inside:
            _refill_tensor(tensor, old)

    return refill


def _is_plain(value: Any, depth: int = 2) -> bool:
    """Whether a value is a number, a word, a small tensor, a loss of PyTorch's, or a short list or dict of these."""
    if isinstance(value, Tensor):
        is_whole = value.layout == torch.strided and not value.is_quantized and value.is_contiguous()
        return is_whole and not value.requires_grad and not value.is_inference() and value.numel() <= _SMALL
    if type(value) in (dict, list, tuple):
        items = list(value.values()) if isinstance(value, dict) else list(value)
        return depth > 0 and len(items) <= _MOST_ITEMS and all(_is_plain(item, depth - 1) for item in items)
    is_loss = getattr(value, "__module__", None) == F.__name__ or type(value).__module__ == nn.modules.loss.__name__
    return value is None or is_loss or isinstance(value, bool | int | float | str | torch.device | torch.dtype)


@contextlib.contextmanager
def variables_put_back(*functions: Any) -> Iterator[None]:
    """Put back what functions keep between calls (see `keep_variables`), also after an exception."""
    restore = keep_variables(*functions)
    try:
        yield
    finally:
        with uninterrupted():
            restore()


def _refill_tensor(value: Tensor, old: Tensor) -> None:
    if value.shape == old.shape and not torch.equal(value, old):
        with torch.no_grad():
            value.copy_(old)


def _refill_dict(value: dict[Any, Any], old: dict[Any, Any]) -> None:
    value.clear()
    value.update(old)


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
    for item in leaves(objects):
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
