"""Gradients that are nothing but rounding: what float32 leaves of terms that cancel each other."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import map_parts
from trainability.doctor.measure.randomness import randomness_restored, seed_torch

_SLIGHT = 1e-3  # a loss above it is asked nothing
_ROUNDED = 1e-3  # of the gradient in float32, that float64 leaves of it

Forward = Callable[[Any, Any], Tensor]


def rounded_gradient(model: nn.Module, batch: Any, forward: Forward, loss: float) -> tuple[float, float] | None:
    """Compute the gradient once more in float64, which rounds to a part in 10^16 where float32 rounds to one in 10^7.

    Args:
        model: with parameters in float32; runs in train mode, and the caller puts modes, buffers and random state back.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.
        loss: that it is; one above 1e-3 is asked nothing.

    Returns:
        The norms in float32 and in float64, where the latter is less than a thousandth of the former; None elsewhere, and where
        the program does not run in float64.
    """
    if not abs(loss) < _SLIGHT or any(p.dtype != torch.float32 for p in model.parameters()):
        return None
    single = _norm(model, batch, forward)
    if not 0 < single < math.inf:
        return None
    try:
        with _Double():
            double = _norm(copy.deepcopy(model).double(), _doubled(batch), forward)
    except (RuntimeError, ValueError, TypeError):  # numbers of float32 that the program makes itself beside weights of float64
        return None
    return (single, double) if double < _ROUNDED * single else None


class _Double(TorchFunctionMode):
    """Computes in float64 what a program makes in float32: what it draws, casts, or reads from elsewhere."""

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "float":
            return args[0].double()
        if name.endswith("_") or name in ("__set__", "__get__", "backward"):  # what writes, and what reads an attribute
            return func(*args, **kwargs)
        wide = {key: torch.float64 if value is torch.float32 else value for key, value in kwargs.items()}
        changed = [torch.float64 if value is torch.float32 else value for value in args]
        return _wider(func(*map(_wider, changed), **{key: _wider(value) for key, value in wide.items()}))


def _wider(part: Any) -> Any:
    if isinstance(part, Tensor):
        return part.double() if part.dtype == torch.float32 else part
    return type(part)(map(_wider, part)) if type(part) in (tuple, list) else part


def _norm(model: nn.Module, batch: Any, forward: Forward) -> float:
    parameters = [p for p in model.parameters() if p.requires_grad]
    with torch.enable_grad(), randomness_restored():
        seed_torch(0)
        loss = forward(model, batch).sum()
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    return math.sqrt(sum(float(g.double().square().sum()) for g in gradients if g is not None))


def _doubled(part: Any) -> Any:
    if isinstance(part, Tensor):
        return part.double() if part.is_floating_point() else part
    return map_parts(part, _doubled)
