"""Functions of the program's own (`torch.autograd.Function`), and whether their `backward` is the slope of their `forward`."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.nodes import within
from trainability.doctor.measure.randomness import randomness_restored, seed_torch

_MOST_NODES = 20_000
_MOVE = 1e-3  # of the input's size, along a random direction
_AGREE, _APART = 0.1, 0.3  # of the slopes, all directions together
_DIRECTIONS = 8
_FEW_VALUES = 0.2  # of the numbers: steps have no slope, and are given another on purpose

Forward = Callable[[Any, Any], Tensor]


def wrong_backward(model: nn.Module, batch: Any, forward: Forward, loss: Tensor) -> tuple[str, float] | None:
    """Compare the gradients of the program's own functions with differences of their values.

    Left out are functions that return their input (a gradient that is reversed or scaled on purpose) or hand the gradient on as
    it is, that return few different values (rounding, spikes), that draw, and those whose differences are not smooth.

    Args:
        model: runs as it is.
        batch: of any structure.
        forward: of (model, batch), the loss.
        loss: with its graph.

    Returns:
        The class of the first such function, and the multiple of the slope that is nearest to its gradient, over eight random
        directions; None if there is none.
    """
    if loss.grad_fn is None:
        return None
    nodes = [n for n in within([loss.grad_fn], None, _MOST_NODES) if isinstance(n, torch.autograd.function.BackwardCFunction)]
    classes = dict.fromkeys(kind for n in nodes if (kind := getattr(n, "_forward_cls", None)) is not None)
    for kind in classes:
        if kind.__module__.partition(".")[0] == "torch":
            continue
        given = _first_call(kind, model, batch, forward)
        if given is not None and (ratio := _multiple_of_slope(kind, *given)) is not None:
            return kind.__name__, ratio
    return None


def _first_call(kind: Any, model: nn.Module, batch: Any, forward: Forward) -> tuple[tuple[Any, ...], int] | None:
    """Watch the first call of a function in one pass.

    Args:
        kind: the function; its `forward` is as before afterwards.
        model: runs once more.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.

    Returns:
        The call's arguments, and the place of the only one that is a tensor with a gradient; None where there is no such one.
    """
    calls: list[tuple[Any, ...]] = []
    is_own = "forward" in kind.__dict__
    plain = kind.__dict__["forward"] if is_own else kind.forward
    function = plain.__func__ if isinstance(plain, staticmethod) else plain
    has_context = kind.setup_context is torch.autograd.Function.setup_context

    def seen(*args: Any) -> Any:
        if not calls:
            own = args[1:] if has_context else args
            calls.append(tuple(a.detach().clone() if isinstance(a, Tensor) else a for a in own))
        return function(*args)

    kind.forward = staticmethod(seen)
    try:
        with torch.enable_grad(), randomness_restored():
            seed_torch(0)
            forward(model, batch)
    finally:
        if is_own:
            kind.forward = plain
        else:
            del kind.forward
    places = [k for k, a in enumerate(calls[0]) if isinstance(a, Tensor) and a.is_floating_point()] if calls else []
    return (calls[0], places[0]) if len(places) == 1 else None


def _multiple_of_slope(kind: Any, args: tuple[Any, ...], place: int) -> float | None:
    """Compare what a function's `backward` says with how its `forward` changes, along random directions.

    Args:
        kind: the function.
        args: of its first call.
        place: of the tensor among them that is moved.

    Returns:
        The multiple of the slope that is nearest to what `backward` says; None where the two agree, where the function draws
        random numbers, gives what it was given, or a few values only, and where two lengths of a move do not agree.
    """
    x = args[place]

    def call(value: Tensor, seed: int = 0) -> Tensor:
        with randomness_restored():
            seed_torch(seed)
            return kind.apply(*args[:place], value.clone(), *args[place + 1 :])

    with contextlib.suppress(Exception), randomness_restored(), torch.enable_grad():
        seed_torch(1)
        inputs = x.clone().requires_grad_()
        y = call(inputs)
        if not isinstance(y, Tensor) or not y.requires_grad or not torch.equal(y.detach(), call(x, seed=1).detach()):
            return None
        values = y.detach()
        is_same = values.shape == x.shape and torch.equal(values, x)
        if is_same or len(values.unique()) <= max(_FEW_VALUES * values.numel(), 2):
            return None
        move, said, found = _MOVE * float(x.std()), [], []
        for _ in range(_DIRECTIONS):
            across, along = torch.randn_like(values), torch.randn_like(x)
            gradient = torch.autograd.grad(y, inputs, across, retain_graph=True)[0]
            if gradient.shape == across.shape and torch.equal(gradient, across):
                return None
            said.append(float((gradient * along).double().sum()))
            found.append(
                [
                    float(((call(x + length * along) - call(x - length * along)).detach() * across).double().sum())
                    / (2 * length)
                    for length in (move, 0.5 * move)
                ]
            )
        told, slopes = torch.tensor(said), torch.tensor(found)
        size = float(slopes[:, 0].norm())
        if not (move > 0 and 0 < size < math.inf and bool(slopes.isfinite().all()) and bool(told.isfinite().all())):
            return None
        if float((slopes[:, 0] - slopes[:, 1]).norm()) > _AGREE * size or float((told - slopes[:, 0]).norm()) <= _APART * size:
            return None
        return float(told @ slopes[:, 0]) / size**2
    return None
