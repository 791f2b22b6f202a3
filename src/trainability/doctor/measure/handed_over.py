"""A loop's body that reaches its networks and optimizers by itself, as one that is handed them: so it can run on copies."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from types import CellType, FunctionType, MethodType
from typing import Any

import torch
from torch import nn

from trainability.doctor.measure.nested import modules, optimizers
from trainability.doctor.measure.uses import global_names, held_parameters, is_filled, is_library, is_own_object

Step = Callable[[Any, Any, Any], Any]
_Slot = tuple[tuple[str, Any], Callable[[Any], None], Callable[[], None]]  # what goes in, how it is set, and how emptied


def handed_over(model: Any, optimizer: Any, step: Step) -> tuple[Step, Any] | None:
    """Rebuild a body whose closure or globals hold parts of its models, or further optimizers of theirs.

    A critic's optimizer is often a variable beside the body, which is given the generator's alone. On copies of the models it
    would go on stepping the originals.

    Args:
        model: as the body is given it: one, or a dict, tuple or list of several.
        optimizer: likewise.
        step: of (model, optimizer, batch): the body.

    Returns:
        A body that finds all of these in what it is given, and the optimizers to give it: the present ones and, behind them,
        those that it held by itself. None where it holds none, and of anything but a function, a method, or an object of the
        program's own that can be called.
    """
    function, owner = _function_of(step)
    if function is None:
        return None
    places = dict(_places(model))
    parameters = {id(p) for each in modules(model) for p in each.parameters()}
    given = {id(each) for each in optimizers(optimizer)}
    own: list[torch.optim.Optimizer] = []

    def key_of(value: Any) -> tuple[str, Any] | None:
        """Which of the models' parts, or of the body's own optimizers, a variable is."""
        if isinstance(value, nn.Module) and id(value) in places:
            return "model", places[id(value)]
        if isinstance(value, torch.optim.Optimizer) and id(value) in given:
            return "given", next(k for k, each in enumerate(optimizers(optimizer)) if each is value)
        if isinstance(value, torch.optim.Optimizer) and any(id(p) in parameters for p in held_parameters(value)):
            if not any(each is value for each in own):
                own.append(value)
            return "own", next(k for k, each in enumerate(own) if each is value)
        return None

    rebuilt = _Rebuilt(key_of)
    try:
        body = rebuilt.of(function)
        twin = rebuilt.twin_of(owner) if owner is not None else None
    except Exception:  # an object that cannot be copied
        return None
    if not rebuilt.slots:
        return None
    return _called_with(body, twin, tuple(rebuilt.slots), has_own=bool(own)), (optimizer, *own) if own else optimizer


def _function_of(step: Step) -> tuple[FunctionType | None, Any]:
    """The function that a body is, and the object whose method it is, or None."""
    if isinstance(step, FunctionType):
        return step, None
    function, owner = (step.__func__, step.__self__) if inspect.ismethod(step) else (type(step).__call__, step)
    is_own = isinstance(function, FunctionType) and not is_library(function) and hasattr(owner, "__dict__")
    return (function, owner) if is_own and not isinstance(owner, nn.Module | type) else (None, None)


def _called_with(body: Callable[..., Any], twin: Any, slots: tuple[_Slot, ...], *, has_own: bool) -> Step:
    """The body with its variables filled from what it is given, and empty between two calls."""
    owner = () if twin is None else (twin,)

    def whole(model: Any, optimizer: Any, batch: Any) -> Any:
        first, *rest = optimizer if has_own else (optimizer,)
        held = {"given": optimizers(first), "own": rest}
        for (kind, key), put, _ in slots:
            put(_at(model, key) if kind == "model" else held[kind][key])
        try:
            return body(*owner, model, first, batch)
        finally:
            for _, _, clear in slots:
                clear()

    if owner:  # as of a method: `used_by` and `keep_variables` look there for what is to be put back
        vars(whole)["__self__"] = twin
    return whole


class _Rebuilt:
    """Functions of the program with variables that are set at each call.

    Attributes:
        slots: what goes into a variable, how it is set, and how it is emptied.
    """

    def __init__(self, key_of: Callable[[Any], tuple[str, Any] | None]) -> None:
        self._key_of = key_of
        self._known: dict[int, FunctionType] = {}
        self._twins: dict[int, Any] = {}
        self.slots: list[_Slot] = []

    def of(self, function: FunctionType) -> FunctionType:
        """The function with variables of its own, and so all functions of the program that it holds or names."""
        if id(function) in self._known:
            return self._known[id(function)]
        cells, waiting = [], []
        for cell in function.__closure__ or ():
            content = cell.cell_contents if is_filled(cell) else None
            if (key := self._key_of(content)) is not None:
                cells.append(new := CellType())
                self.slots.append((key, _setting(new), _clearing(new)))
            elif _is_own(content):
                cells.append(new := CellType())
                waiting.append((new, content))
            elif self._holds_some(content):
                cells.append(CellType(self.twin_of(content)))
            else:
                cells.append(cell)  # shared: a counter goes on counting
        space = dict(function.__globals__)
        made = FunctionType(function.__code__, space, function.__name__, function.__defaults__, tuple(cells))
        made.__kwdefaults__ = function.__kwdefaults__
        made.__dict__.update(function.__dict__)
        self._known[id(function)] = made
        for cell, content in waiting:
            cell.cell_contents = self.of(content)
        for name in global_names(function.__code__) & function.__globals__.keys():
            content = function.__globals__[name]
            if (key := self._key_of(content)) is not None:
                space.pop(name)
                self.slots.append((key, _entering(space, name), _removing(space, name)))
            elif _is_own(content):
                space[name] = self.of(content)
            elif self._holds_some(content):
                space[name] = self.twin_of(content)
        return made

    def _holds_some(self, value: Any) -> bool:
        """Whether an object of a class of the program's own has an attribute that is to be set."""
        return is_own_object(value) and any(self._key_of(each) is not None for each in vars(value).values())

    def twin_of(self, owner: Any) -> Any:
        """A copy of an object, with attributes that are set at each call."""
        if id(owner) in self._twins:
            return self._twins[id(owner)]
        twin = self._twins[id(owner)] = copy.copy(owner)
        for name, value in list(vars(twin).items()):
            if inspect.ismethod(value) and value.__self__ is owner:
                vars(twin)[name] = MethodType(value.__func__, twin)
            if (key := self._key_of(value)) is not None:
                vars(twin).pop(name)
                self.slots.append((key, _entering(vars(twin), name), _removing(vars(twin), name)))
        return twin


def _is_own(value: Any) -> bool:
    return inspect.isfunction(value) and not is_library(value)


def _setting(cell: CellType) -> Callable[[Any], None]:
    def put(value: Any) -> None:
        cell.cell_contents = value

    return put


def _clearing(cell: CellType) -> Callable[[], None]:
    def clear() -> None:
        del cell.cell_contents

    return clear


def _entering(space: dict[str, Any], name: str) -> Callable[[Any], None]:
    def put(value: Any) -> None:
        space[name] = value

    return put


def _removing(space: dict[str, Any], name: str) -> Callable[[], None]:
    def clear() -> None:
        space.pop(name, None)

    return clear


def _places(model: Any) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Where each module is: keys of a structure, and the name within a model."""
    if isinstance(model, nn.Module):
        for name, module in model.named_modules():
            yield id(module), (name,)
    elif isinstance(model, dict | tuple | list):
        for key, item in model.items() if isinstance(model, dict) else enumerate(model):
            yield from ((each, (key, *rest)) for each, rest in _places(item))


def _at(model: Any, place: tuple[Any, ...]) -> Any:
    for key in place[:-1]:
        model = model[key]
    return model.get_submodule(place[-1])
