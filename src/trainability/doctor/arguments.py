"""What users hand over; each check raises a one-line `ValueError` that names the value and what is accepted."""

from __future__ import annotations

import difflib
import functools
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

from torch import nn

from trainability.doctor.measure.nested import modules, optimizers
from trainability.doctor.told import told

_Function = TypeVar("_Function", bound=Callable[..., Any])
_ONE_EACH = "; models with an optimizer each take a Monitor each, or trainability.follow() watches them all"


def with_near_names(function: _Function) -> _Function:
    """Let a function say which of its keyword arguments was meant by one that it does not have, and which it lacks."""
    parameters = inspect.signature(function).parameters
    names = [name for name in parameters if name != "self"]
    required = [name for name in names if parameters[name].default is inspect.Parameter.empty]
    positional = [name for name in parameters if parameters[name].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    called = function.__qualname__.removesuffix(".__init__")

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for name in kwargs:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
                meant = f"; did you mean {near[0]}?" if near else f"; it takes {', '.join(names)}"
                raise TypeError(f"{called}() has no argument {name}{meant}")
        if missing := [name for name in required if name not in kwargs and name not in positional[: len(args)]]:
            asked = ", ".join(f"{name}=" for name in missing)
            others = f"; it takes {', '.join(names)}" if len(names) > len(missing) else ""
            raise TypeError(f"{called}() needs {asked}{others}")
        return function(*args, **kwargs)

    return cast(_Function, checked)


def check_model(model: Any) -> None:
    """Raise for what is no module; several models are told what watches them."""
    if not isinstance(model, nn.Module):
        several = _ONE_EACH if modules(model) else ""
        raise ValueError(f"model is {told(model)}; expected one torch.nn.Module{several}")


def check_optimizer(optimizer: Any) -> None:
    """Raise for what is no optimizer; one that another library wraps has its `step` or `param_groups`."""
    if isinstance(optimizer, (Mapping, list, tuple)) and len(optimizer) != 1:
        raise ValueError(f"optimizer is {told(optimizer)} of {len(optimizer)}; expected one optimizer{_ONE_EACH}")
    is_one = hasattr(optimizer, "param_groups") or hasattr(optimizer, "step") or bool(optimizers(optimizer))
    if optimizer is not None and (isinstance(optimizer, type) or not is_one):
        expected = "an optimizer, such as torch.optim.Adam(model.parameters()), or None"
        raise ValueError(f"optimizer is {told(optimizer)}; expected {expected}")


def check_batches(**loaders: Any) -> None:
    """Raise for what cannot be iterated over."""
    for name, value in loaders.items():
        if isinstance(value, type) or not isinstance(value, Iterable):
            raise ValueError(f"{name} is {told(value)}; expected an iterable of batches")


def check_function(name: str, value: Any, takes: str) -> None:
    """Raise for what cannot be called, and for the class of a loss in place of the loss."""
    if isinstance(value, type) and issubclass(value, nn.Module):
        raise ValueError(f"{name} is {told(value)}; expected a function of ({takes}), such as {value.__name__}()")
    if not callable(value):
        raise ValueError(f"{name} is {told(value)}; expected a function of ({takes})")


def check_counts(**counts: Any) -> None:
    """Raise for what is no whole number from 1."""
    for name, value in counts.items():
        if not hasattr(value, "__index__") or value < 1:
            raise ValueError(f"{name} is {told(value)}; expected a whole number, at least 1")


def check_known_counts(**counts: Any) -> None:
    """Raise for what is no whole number from 1; None is not known."""
    for name, value in counts.items():
        if value is not None and (not hasattr(value, "__index__") or value < 1):
            raise ValueError(f"{name} is {told(value)}; expected a whole number, at least 1, or None if it is not known")


def check_clip(clip: Any) -> None:
    """Raise for what is no gradient norm."""
    if clip is not None and not (_is_number(clip) and clip > 0):
        raise ValueError(f"clip is {told(clip)}; expected a gradient norm above 0, or None for no clipping")


def check_numbers(*, every: Any, accumulation: Any, first_step: Any, num_classes: Any, clip: Any) -> None:
    """Raise for a number that `Monitor` does not take."""
    check_counts(every=every, accumulation=accumulation)
    check_known_counts(first_step=first_step, num_classes=num_classes)
    check_clip(clip)


def one_number(name: str, value: Any) -> float:
    """Read a number, also in a tensor of one element; raise for what is none, texts included."""
    if isinstance(value, str | bytes) or not hasattr(value, "__float__") or getattr(value, "numel", lambda: 1)() != 1:
        raise ValueError(f"{name} is {told(value)}; expected one number")
    return float(value)


def numbers_of(**values: Any) -> dict[str, float]:
    """Read those that are given, each by its name."""
    return {name: one_number(name, value) for name, value in values.items() if value is not None}


def check_seconds(**seconds: Any) -> None:
    """Raise for what is no time, 0 included."""
    for name, value in seconds.items():
        if not (_is_number(value) and value >= 0):
            raise ValueError(f"{name} is {told(value)}; expected seconds, 0 or more")


def _is_number(value: Any) -> bool:
    return hasattr(value, "__float__") and not math.isnan(value)
