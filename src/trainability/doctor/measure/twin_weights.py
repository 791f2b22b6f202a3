"""Pairs of a trained network and what may be an average of its weights: a module of the same form, or a dict or list."""

from __future__ import annotations

import contextlib
import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.as_code import as_code
from trainability.doctor.measure.as_drawn import is_as_drawn, weight_of
from trainability.doctor.measure.uses import called_by, is_filled, is_own_object, plain_function

_MOST_PAIRS, _MOST_TWINS = 8, 4
_MOST_DEPTH = 3
_DRAWN = 0.9  # of the weights, as PyTorch drew them or with biases that are all one number


@dataclass(kw_only=True, eq=False)
class TwinWeights:
    """Weights that no optimizer holds, beside trained ones of the same names and shapes.

    Attributes:
        name: of the module, dict or list, as Python reaches it.
        twin: of the trained module, likewise.
        averaged: reads the tensors, which may be others after each step.
        trained: parameters, in the same order.
        part: the module that holds `averaged`; None of loose tensors.
        module: the trained module; likewise.
    """

    name: str
    twin: str
    averaged: Callable[[], Sequence[Tensor]]
    trained: Sequence[Tensor]
    part: nn.Module | None = None
    module: nn.Module | None = None


def twin_weights(
    models: Sequence[tuple[str, nn.Module]],
    managed: set[int],
    functions: Sequence[Any] = (),
    strays: Iterable[tuple[str, Any]] = (),
) -> list[TwinWeights]:
    """Find what may be averages of a network whose weights are still as they were drawn.

    Args:
        models: with names, "" of a single one.
        managed: ids of the parameters that optimizers hold.
        functions: the loop's own, whose variables may hold an average.
        strays: whatever else may, with names.

    Returns:
        Those of which the network, and the average, look as if nothing was ever loaded into them, a few. An average may have
        several twins, one of which it follows.
    """
    roots: list[tuple[str, Any]] = [(as_code(name), model) for name, model in models]
    roots += [pair for each in functions for pair in _variables(each)]
    trained = _by_form(models, managed)
    is_any_drawn = any(is_drawn(module) for same in trained.values() for _, module in same)
    found: list[TwinWeights] = []
    seen: set[int] = set()
    for name, root in (*roots, *strays) if trained and is_any_drawn else ():
        with contextlib.suppress(Exception):  # an attribute that computes, a module whose __init__ failed
            found += itertools.islice(_inside(name, root, trained, managed, seen, _MOST_DEPTH), _MOST_PAIRS - len(found))
    return found


def _joined(root: str, path: str) -> str:
    return root + as_code(path).removeprefix("model")


_Form = tuple[tuple[str, torch.Size], ...]


def _by_form(models: Sequence[tuple[str, nn.Module]], managed: set[int]) -> dict[_Form, list[tuple[str, nn.Module]]]:
    """Trained modules by names and shapes of their parameters."""
    found: dict[_Form, list[tuple[str, nn.Module]]] = {}
    for root, model in models:
        for path, module in model.named_modules():
            form = _form(module)
            has_own = form and any(id(p) in managed for p in module.parameters())
            if has_own and any(len(shape) > 1 for _, shape in form):
                found.setdefault(form, []).append((_joined(as_code(root), path), module))
    return found


def _form(module: nn.Module) -> _Form:
    parameters = list(module.named_parameters())
    if any(nn.parameter.is_lazy(p) or not _is_plain(p) for _, p in parameters):
        return ()
    return tuple((name, p.shape) for name, p in parameters)


def _is_plain(x: Any) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point() and not x.is_meta and x.layout == torch.strided and x.numel() > 0


def _inside(
    name: str,
    value: Any,
    trained: dict[_Form, list[tuple[str, nn.Module]]],
    managed: set[int],
    seen: set[int],
    depth: int,
) -> Iterator[TwinWeights]:
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, nn.Module):
        yield from _modules_inside(name, value, trained, managed, seen)
        for path, module in value.named_modules() if depth else ():
            for key, held in list(vars(module).items()):
                is_loose = isinstance(held, dict | list) and not key.startswith("_")
                if is_loose or is_own_object(held):
                    where = _joined(name, f"{path}.{key}")
                    yield from _loose(where, vars(module), key, trained, managed)
                    yield from _inside(where, held, trained, managed, seen, depth - 1) if not is_loose else ()
    elif isinstance(value, dict | list):
        yield from _loose(name, {name: value}, name, trained, managed)
    elif depth and is_own_object(value):
        for key, held in list(vars(value).items()):
            yield from _loose(f"{name}.{key}", vars(value), key, trained, managed)
            yield from _inside(f"{name}.{key}", held, trained, managed, seen, depth - 1)


def _modules_inside(
    name: str, root: nn.Module, trained: dict[_Form, list[tuple[str, nn.Module]]], managed: set[int], taken: set[int]
) -> Iterator[TwinWeights]:
    for path, module in root.named_modules():
        parameters = list(module.parameters())
        if not parameters or (id(module) in taken and module is not root) or any(id(p) in managed for p in parameters):
            continue
        own = {id(p) for p in parameters}
        twins = [(n, m) for n, m in trained.get(_form(module), ()) if own.isdisjoint(map(id, m.parameters()))]
        if not twins:
            continue
        taken |= {id(part) for part in module.modules()}
        if not is_drawn(module):
            continue
        for twin, other in _nearest(twins, parameters):
            places = [k for k, p in enumerate(other.parameters()) if id(p) in managed]
            yield TwinWeights(
                name=_joined(name, path),
                twin=twin,
                averaged=_read_module(module, places),
                trained=[list(other.parameters())[k] for k in places],
                part=module,
                module=other,
            )


def _read_module(module: nn.Module, places: list[int]) -> Callable[[], Sequence[Tensor]]:
    def read() -> Sequence[Tensor]:
        now = list(module.parameters())
        return [now[k] for k in places]

    return read


def _nearest(twins: Sequence[tuple[str, nn.Module]], values: Sequence[Tensor]) -> Sequence[tuple[str, nn.Module]]:
    """Those that have the same numbers, where there are any; else all, a few."""
    same = [(n, m) for n, m in twins if all(a.equal(b) for a, b in zip(values, m.parameters(), strict=True))]
    return (same or list(twins))[:_MOST_TWINS]


def _loose(
    name: str, space: dict[str, Any], key: str, trained: dict[_Form, list[tuple[str, nn.Module]]], managed: set[int]
) -> Iterator[TwinWeights]:
    """A dict or list of tensors that is a copy of a trained network's parameters: by name, or in their order."""
    held = space[key]
    if not isinstance(held, dict | list) or not held:
        return
    values = list(held.values()) if isinstance(held, dict) else held
    if not all(isinstance(x, Tensor) for x in values) or any(id(x) in managed for x in values):
        return
    for modules in trained.values():
        for twin, module in modules:
            named = [(k, n, p) for k, (n, p) in enumerate(module.named_parameters()) if id(p) in managed]
            keys: list[Any] = [n for _, n, _ in named] if isinstance(held, dict) else [k for k, _, _ in named]
            if not named or (isinstance(held, list) and len(held) != len(list(module.parameters()))):
                continue
            if isinstance(held, dict) and any(n not in held for n in keys):
                continue
            copies: Any = held
            found = [copies[k] for k in keys]
            trained_ones = [p for _, _, p in named]
            if all(_is_plain(a) and a.shape == p.shape and a.equal(p) for a, p in zip(found, trained_ones, strict=True)):
                if is_drawn(module):
                    yield TwinWeights(name=name, twin=twin, averaged=_read_loose(space, key, keys), trained=trained_ones)
                return


def _read_loose(space: dict[str, Any], key: str, keys: Sequence[Any]) -> Callable[[], Sequence[Tensor]]:
    return lambda: [space[key][k] for k in keys]


def is_drawn(module: nn.Module) -> bool:
    """Whether nearly all of a module's linear layers and convolutions are as they were drawn, and there are some.

    By PyTorch, or by another scheme, which leaves all biases of a layer at one number.
    """
    layers = [(m, w.numel()) for m in module.modules() if (w := weight_of(m)) is not None]
    every = sum(size for _, size in layers)
    return every > 0 and sum(size for m, size in layers if is_as_drawn(m) or _has_even_bias(m)) >= _DRAWN * every


def _has_even_bias(layer: nn.Module) -> bool:
    bias = layer._parameters.get("bias")
    return bias is not None and bias.numel() > 1 and bool((bias.detach() == bias.detach()[0]).all())


def _variables(function: Any) -> Iterator[tuple[str, Any]]:
    """What a function of the program's, and those that it calls by name, hold, with the names of variables."""
    for each in (function, *called_by(function)):
        owner = getattr(each, "__self__", None)
        plain = plain_function(each)
        if not inspect.isfunction(plain):
            owner = plain if hasattr(plain, "__dict__") and is_own_object(plain) else owner
        else:
            cells = zip(plain.__code__.co_freevars, plain.__closure__ or (), strict=False)
            yield from ((name, cell.cell_contents) for name, cell in cells if is_filled(cell))
            space = plain.__globals__
            yield from ((name, space[name]) for name in plain.__code__.co_names if name in space)
            yield from (("a default", value) for value in plain.__defaults__ or ())
        if owner is not None and hasattr(owner, "__dict__") and not inspect.ismodule(owner):
            yield "self", owner
