"""Copies of models and optimizers that belong together."""

import copy
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.error_line import error_line
from trainability.doctor.measure.graph import parameters_behind
from trainability.doctor.measure.nested import leaves, modules, optimizers
from trainability.doctor.measure.uses import held_parameters, is_library, used_by


def copied(*objects: Any) -> tuple[Any, ...]:
    """Copy models, optimizers, schedulers in one go, so that each copy refers to the others and not to the originals.

    Raises:
        ValueError: one of them cannot be copied; the message says what `copy.deepcopy` said.
    """
    memo: dict[int, Any] = {}
    for item in leaves(objects):
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
            if any(id(p) in own for held in used_by(function) for p in (held, *held_parameters(held))):
                return name
    return None


def _functions_in(value: Any, depth: int) -> Iterator[Any]:
    """The program's own functions in containers, so deep: an attribute may hold a whole data set, or itself."""
    function = value.func if isinstance(value, functools.partial) else value
    if inspect.isfunction(function):
        if not is_library(function):
            yield function
    elif depth and isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _functions_in(item, depth - 1)


def _is_made_of_strangers(value: Tensor, own: set[int]) -> bool:
    """Whether a tensor is made of parameters that are nobody's, as by `nn.Parameter(table).float()`: it is one in the copy."""
    behind = {id(parameter) for parameter in parameters_behind(value)}
    return bool(behind) and behind.isdisjoint(own)


def steps_in_backward(model: nn.Module) -> bool:
    """Whether hooks of the parameters run as gradients arrive, as where these are stepped at once; copies have none."""
    return any(getattr(p, "_post_accumulate_grad_hooks", None) for part in modules(model) for p in part.parameters())


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
