"""Answers that can leave what they start from on one side only: a ReLU makes all that is added."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.graph import behind_views
from trainability.doctor.measure.instead import pull, returned_once
from trainability.doctor.measure.nodes import name_of
from trainability.doctor.measure.randomness import randomness_restored, seed_torch

# Nodes of the graph that add up, scale by numbers and rearrange.
_AFFINE = ("Add", "Sub", "Rsub", "Mul", "Div", "Neg", "View", "UnsafeView", "Reshape", "Squeeze", "Unsqueeze", "Transpose")
_AFFINE += ("Permute", "T", "Stack", "Cat", "Select", "Slice", "Clone", "Expand", "Alias", "Split", "Unbind", "ToCopy")
_MOST_NODES, _SLIGHT = 10_000, 1e-6
_FAR, _UNDIMINISHED = 6.0, 0.5  # answers; of the gradient at zero
Forward = Callable[[Any, Any], Tensor]


def out_of_reach(model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass) -> float | None:
    """Share of the targets on the side of the answers' start that no weights lead to.

    The start is what the answers are where the ReLUs give zeros that every path from a weight to them goes through at last.

    Args:
        model: runs as it is.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.
        seen: the same pass.

    Returns:
        None where the loss takes no difference of answer and target, and where a weight reaches the answer without such a ReLU.
    """
    if seen.against is None or not _last_rectifiers(seen.against[0], None):
        return None
    own = _Rectified(frozenset())
    answer, target = _compared(model, batch, forward, own)
    found = _last_rectifiers(answer, own.calls) if answer is not None else None
    if not found:
        return None
    start, _ = _compared(model, batch, forward, _Rectified(frozenset(found)))
    if answer is None or target is None or start is None or start.shape != answer.shape:
        return None
    moved, slight = answer.detach() - start.detach(), _SLIGHT * float(start.detach().abs().max() + 1)
    beyond = target.detach() - start.detach()
    if bool((moved >= -slight).all()) and bool((moved > slight).any()):
        return float((beyond < -slight).float().mean())
    if bool((moved <= slight).all()) and bool((moved < -slight).any()):
        return float((beyond > slight).float().mean())
    return None


def wanted_below(model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass) -> float | None:
    """Share of the examples whose answer the loss wants below zero, where all are zero and a ReLU makes them.

    Args:
        model: called once; runs as it is.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.
        seen: the same pass.

    Returns:
        None where answers are several numbers an example, or no ReLU's; and where the loss is of numbers that are never
        negative, as distances and rates are: below zero it is not finite, or falls on without end, and above zero it does not.
    """
    output = seen.output
    if output is None or output.dim() == 0 or output.numel() != len(output) or output.grad_fn is None:
        return None
    own = returned_once(model, batch, forward) if name_of(behind_views(output.grad_fn)) == "ReluBackward" else None
    if own is None or not own.tensors or own.tensors[0].shape != output.shape:
        return None

    def asked(value: float) -> Tensor | None:
        return pull(model, batch, forward, own, answers=[torch.full_like(own.tensors[0], value), *own.tensors[1:]])

    pulled, below, above = asked(0.0), asked(-_FAR), asked(_FAR)
    if pulled is None or below is None:
        return None
    if _goes_on(pulled, below) and not (above is not None and _goes_on(-pulled, -above)):
        return None
    return float((pulled > 0).float().mean())


def _goes_on(pulled: Tensor, far: Tensor) -> bool:
    """Whether all that is pulled one way is pulled that way far from there, too; False where nothing is."""
    one_way = pulled > 0
    return bool(one_way.any()) and bool((far[one_way] >= _UNDIMINISHED * pulled[one_way]).all())


def _compared(model: nn.Module, batch: Any, forward: Forward, rectified: _Rectified) -> tuple[Tensor | None, Tensor | None]:
    seen = ForwardPass(model, batch)
    with torch.enable_grad(), randomness_restored(), seen, rectified:
        seed_torch(0)
        forward(model, batch)
    return seen.against if seen.against is not None else (None, None)


def _last_rectifiers(answer: Tensor, calls: dict[Any, int] | None) -> set[int] | None:
    """Numbers of the calls of ReLU that are met first on the way from the answer to the weights; None where others are met."""
    todo: list[Any] = [answer.grad_fn]
    known: set[Any] = set()
    found: set[int] = set()
    while todo:
        node = todo.pop()
        if node is None or node in known:
            continue
        known.add(node)
        name = type(node).__name__.partition("Backward")[0]
        if name == "Relu" and (calls is None or node in calls):
            found.add(calls[node] if calls is not None else 0)
        elif name in _AFFINE and len(known) < _MOST_NODES:
            todo += [following for following, _ in node.next_functions]
        else:
            return None
    return found


class _Rectified(TorchFunctionMode):
    """Numbers the calls of ReLU, and lets some of them give zeros.

    Attributes:
        calls: number of each call by its node in the graph.
    """

    def __init__(self, zeroed: frozenset[int]) -> None:
        super().__init__()
        self.calls: dict[Any, int] = {}
        self._zeroed, self._count = zeroed, 0

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "").strip("_") == "relu" and isinstance(result, Tensor):
            number, self._count = self._count, self._count + 1
            if number in self._zeroed:
                return 0 * result
            if result.grad_fn is not None:
                self.calls[result.grad_fn] = number
        return result
