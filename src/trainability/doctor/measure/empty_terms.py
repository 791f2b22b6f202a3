"""Terms of a loss that are computed from no numbers at all, batch after batch, so that they train nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import batch_size, map_parts, to_device
from trainability.doctor.measure.mask_origins import Origins
from trainability.doctor.measure.overwritten_losses import LOSSES, callers
from trainability.doctor.measure.randomness import generators_restored, randomness_restored, seed_torch
from trainability.doctor.readings import EmptyTerm

_BATCHES, _SECONDS, _ENOUGH = 64, 3.0, 1_000  # that are read; examples, of which one would be chosen
_LOUDER = (30.0, 1000.0, -1000.0)  # times the outputs: what is chosen by them is then another choice
_SUMS = frozenset({"sum", "mean"})
_PRODUCTS = frozenset({"mul", "rmul", "imul", "multiply"})

Forward = Callable[[Any, Any], Tensor]
_Lines = tuple[tuple[str, int], ...]


class _Sizes(TorchFunctionMode):
    """The calls of losses and sums of numbers with a gradient, by the lines that lead to them: how many were given any number.

    A number that a mask multiplies by zero counts as none: of tensors with a number for each, a mask is what has no gradient,
    and is computed from the batch and constants alone. Any other may open later: by a count of epochs, a teacher, a threshold.

    Attributes:
        by_callers: the function, and whether every call was given none.
        given: what the first call was given, by the same lines; of a product with a mask, what is multiplied.
    """

    def __init__(self) -> None:
        super().__init__()
        self.by_callers: dict[_Lines, tuple[str, bool]] = {}
        self.given: dict[_Lines, Tensor] = {}
        self._origins = Origins()
        self._masked: dict[int, tuple[Tensor, Tensor]] = {}  # by id: products with a mask of zeros, and what it multiplies

    def begin(self, batch: Any) -> None:
        """A run of another batch."""
        self._origins.begin(batch)
        self._masked.clear()

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name = getattr(func, "__name__", "").strip("_")
        if name in LOSSES or name in _SUMS:
            given = args[0] if args else (kwargs or {}).get("input")
            if isinstance(given, Tensor) and given.requires_grad and (lines := callers(sys._getframe(1))):
                lines = (*lines, (name, 0))  # several may be called in one line
                known = self.by_callers.get(lines, (name, True))
                self.by_callers[lines] = name, known[1] and (given.numel() == 0 or id(given) in self._masked)
                self.given.setdefault(lines, self._masked.get(id(given), (given, given))[1])
        result = func(*args, **(kwargs or {}))
        with torch._C.DisableTorchFunction():
            self._origins.follow(name, args, kwargs, result)
        if name in _PRODUCTS and isinstance(result, Tensor) and result.requires_grad and result.numel() > 1:
            with torch._C.DisableTorchFunction():
                both = [x for x in args[:2] if isinstance(x, Tensor) and x.shape == result.shape]
                masks, numbers = ([x for x in both if x.requires_grad is trained] for trained in (False, True))
                is_empty = bool(masks and numbers) and not bool(masks[0].any())
                if is_empty and self._origins.is_of_batch(masks[0], callers(sys._getframe(1))):
                    self._masked[id(result)] = result, numbers[0]
        return result


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
        seed_torch(0)
        sizes.begin(batch)
        with sizes:
            loss = forward(model, batch).sum()
        empty = {lines for lines, (_, none) in sizes.by_callers.items() if none}
        if not empty or not loss.requires_grad:
            return None
        silent = {lines: _silent(model, loss, sizes.given[lines]) for lines in empty}
        empty = {lines for lines in empty if silent[lines]}
        sizes.given.clear()
        empty = empty and _whatever_the_outputs(model, batch, forward, empty)
        device, began, is_all, read, examples = next(model.parameters()).device, time.monotonic(), True, 0, 0
        with generators_restored(batches):
            for other in batches if empty else ():
                if read >= _BATCHES or time.monotonic() - began > _SECONDS:
                    is_all = False
                    break
                other = to_device(other, device)
                sizes.begin(other)
                with sizes:
                    forward(model, other)
                read, examples = read + 1, examples + (batch_size(other) or 1)
                empty = {lines for lines in empty if sizes.by_callers[lines][1]}
                if not empty:
                    break
    if not empty:
        return None
    lines = min(empty)
    (file, line), name = lines[0], sizes.by_callers[lines][0]
    is_enough = is_all or examples >= _ENOUGH
    return EmptyTerm(name=name, file=file, line=line, batches=read, is_enough=is_enough, silent=silent[lines])


def _whatever_the_outputs(model: nn.Module, batch: Any, forward: Forward, empty: set[_Lines]) -> set[_Lines]:
    """Those that stay empty where the model answers louder: what is chosen by confidence is chosen later."""

    def times(factor: float, output: Any) -> Any:
        if isinstance(output, Tensor):
            return factor * output if output.is_floating_point() else output
        return map_parts(output, lambda part: times(factor, part))

    for factor in _LOUDER:
        sizes = _Sizes()
        handle = model.register_forward_hook(lambda module, args, output, factor=factor: times(factor, output))
        try:
            seed_torch(0)
            sizes.begin(batch)
            with sizes:
                forward(model, batch)
        finally:
            handle.remove()
        empty = {lines for lines in empty if sizes.by_callers.get(lines, ("", False))[1]}
    return empty


def _silent(model: nn.Module, loss: Tensor, given: Tensor) -> tuple[str, ...]:
    """Parameters that make these numbers, and get no gradient, or none for a row that makes these alone."""
    held = {name: p for name, p in model.named_parameters() if p.requires_grad and p.numel()}
    makes = torch.autograd.grad(given.sum(), list(held.values()), allow_unused=True, retain_graph=True)
    slopes = torch.autograd.grad(loss, list(held.values()), allow_unused=True, retain_graph=True)
    rows = zip(held, makes, slopes, strict=True)
    return tuple(name for name, made, slope in rows if made is not None and (slope is None or _has_silent_rows(made, slope)))


def _has_silent_rows(made: Tensor, slope: Tensor) -> bool:
    """Whether nothing has a gradient, or no number of a row that makes some of these."""
    if not bool(slope.any()):
        return True
    if made.dim() == 0:
        return False
    makes, has_slope = ((rows != 0).reshape(len(rows), -1).any(dim=1) for rows in (made, slope))
    return bool((makes & ~has_slope).any())
