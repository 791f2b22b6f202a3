"""Terms of a loss that are computed from no numbers at all, batch after batch, so that they train nothing."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import to_device
from trainability.doctor.measure.overwritten_losses import LOSSES, callers
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.readings import EmptyTerm

_BATCHES = 12
_SUMS = frozenset({"sum", "mean"})

Forward = Callable[[Any, Any], Tensor]
_Lines = tuple[tuple[str, int], ...]


class _Sizes(TorchFunctionMode):
    """The calls of losses and sums of numbers with a gradient, by the lines that lead to them: how many were given any number.

    Attributes:
        by_callers: the function, and whether every call was given none.
        given: what the first call was given, by the same lines.
    """

    def __init__(self) -> None:
        super().__init__()
        self.by_callers: dict[_Lines, tuple[str, bool]] = {}
        self.given: dict[_Lines, Tensor] = {}

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name = getattr(func, "__name__", "").strip("_")
        if name in LOSSES or name in _SUMS:
            given = args[0] if args else (kwargs or {}).get("input")
            if isinstance(given, Tensor) and given.requires_grad and (lines := callers(sys._getframe(1))):
                known = self.by_callers.get(lines, (name, True))
                self.by_callers[lines] = name, known[1] and given.numel() == 0
                self.given.setdefault(lines, given)
        return func(*args, **(kwargs or {}))


def empty_term(model: nn.Module, batch: Any, forward: Forward, batches: Iterable[Any]) -> EmptyTerm | None:
    """Look for a loss or sum of outputs that is given no number in any of the loader's first batches.

    Args:
        model: runs as it is.
        batch: of any structure.
        forward: of (model, batch), the loss.
        batches: the training loader.

    Returns:
        The call, and the parameters whose gradient is zero for it; None where there is none, or all have one by another term.
    """
    sizes = _Sizes()
    with torch.enable_grad(), randomness_restored():
        torch.manual_seed(0)
        with sizes:
            loss = forward(model, batch).sum()
        empty = {lines for lines, (_, none) in sizes.by_callers.items() if none}
        if not empty or not loss.requires_grad:
            return None
        silent = {lines: _silent(model, loss, sizes.given[lines]) for lines in empty}
        empty = {lines for lines in empty if silent[lines]}
        sizes.given.clear()
        device, read = next(model.parameters()).device, 1
        with generators_restored(batches):
            for other in itertools.islice(batches, _BATCHES) if empty else ():
                with sizes:
                    forward(model, to_device(other, device))
                read += 1
                empty = {lines for lines in empty if sizes.by_callers[lines][1]}
    if not empty:
        return None
    lines = min(empty)
    (file, line), name = lines[0], sizes.by_callers[lines][0]
    return EmptyTerm(name=name, file=file, line=line, batches=read, silent=silent[lines])


def _silent(model: nn.Module, loss: Tensor, given: Tensor) -> tuple[str, ...]:
    """Parameters that make these numbers, and get no gradient."""
    held = {name: p for name, p in model.named_parameters() if p.requires_grad}
    makes = torch.autograd.grad(given.sum(), list(held.values()), allow_unused=True, retain_graph=True)
    slopes = torch.autograd.grad(loss, list(held.values()), allow_unused=True, retain_graph=True)
    rows = zip(held, makes, slopes, strict=True)
    return tuple(name for name, made, slope in rows if made is not None and (slope is None or not bool(slope.any())))
