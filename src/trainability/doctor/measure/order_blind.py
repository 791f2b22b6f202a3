"""Attention that sees no order, though the model holds a table of positions: asked with the places of sequences exchanged."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.measure import statistics
from trainability.doctor.measure.copies import copied
from trainability.doctor.measure.influence import answer

_FEWEST, _FEW = 3, 8  # places; examples
_SAME = 1e-4  # change over the rms of the output
_NEAR_ZERO, _NOISE = 0.01, 0.1
_NAME = re.compile(r"(^|[._])(pe|pos|posit\w*|wpe|\w*pos_?emb\w*|\w*pos_?enc\w*|\w*position\w*)([._]|$)", re.IGNORECASE)


def order_blind(model: nn.Module, inputs: tuple[Any, ...]) -> str | None:
    """Find a table of positions in a model whose answers do not go by positions.

    Args:
        model: runs in eval mode and without gradients; the caller puts modes and buffers back.
        inputs: what it takes: one tensor (examples, places) of whole numbers, or (examples, places, features).

    Returns:
        The name of a buffer or parameter with "pe", "pos" or "position" in it and at least as many rows as there are places,
        where the answers for sequences stay the same as their places are exchanged, or are exchanged with them; None elsewhere.
    """
    if len(inputs) != 1 or not isinstance(inputs[0], Tensor) or not 2 <= inputs[0].dim() <= 3:
        return None
    given = inputs[0][:_FEW]
    if given.dim() == 2 and given.is_floating_point():
        return None
    length = given.shape[1]
    name = _table(model, length)
    if name is None or length < _FEWEST or not _has_attention(model, given):
        return None
    # Branches that start at zero, as with zero-initialised gates, tables or heads, let nothing through yet.
    return name if _is_blind(model, given) and _is_blind(_woken(model), given) else None


def _is_blind(model: nn.Module, given: Tensor) -> bool:
    order = torch.randperm(given.shape[1], generator=torch.Generator().manual_seed(0)).roll(1).to(given.device)
    exchanged = given[:, order]
    own, again, other = (answer(model, [x], None) for x in (given, given, exchanged))
    if own is None or again is None or other is None or not torch.equal(own, again) or own.shape != other.shape:
        return False
    if torch.equal(given, exchanged) or bool((own == own[:1]).all()):  # answers to all examples are alike
        return False
    wanted = own[:, order] if own.dim() > 2 and own.shape[1] == given.shape[1] else own
    return float((other - wanted).abs().max() / statistics.rms(own).clamp(min=1e-30)) <= _SAME


def _woken(model: nn.Module) -> nn.Module:
    """A copy in which no parameter is near zero everywhere."""
    (twin,) = copied(model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in twin.parameters():
            if parameter.numel() and float(parameter.abs().amax()) < _NEAR_ZERO:
                parameter += _NOISE * torch.randn(parameter.shape, generator=generator).to(parameter)
    return twin


def _table(model: nn.Module, length: int) -> str | None:
    named = [*model.named_buffers(), *model.named_parameters()]
    return next(
        (n for n, t in named if t.dim() >= 2 and _NAME.search(n) and max(t.shape[:-1]) >= length and t.is_floating_point()),
        None,
    )


class _Attention(TorchFunctionMode):
    """Sees whether a function of attention is called, or a softmax over as many numbers as there are places."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.is_found, self._length = False, length

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").strip("_")
        if name == "softmax" and isinstance(result, Tensor) and result.dim() > 2 and result.shape[-1] == self._length:
            self.is_found = True
        self.is_found = self.is_found or "attention" in name
        return result


def _has_attention(model: nn.Module, given: Tensor) -> bool:
    if any(isinstance(m, nn.MultiheadAttention) or "attention" in type(m).__name__.lower() for m in model.modules()):
        return True
    with _Attention(given.shape[1]) as seen:
        answer(model, [given], None)
    return seen.is_found
