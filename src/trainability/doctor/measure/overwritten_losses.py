"""Losses of the passes of a loop of which only the last counts: `loss = ...` where `loss = loss + ...` is meant."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.measure.nodes import within
from trainability.doctor.measure.questions import start
from trainability.doctor.measure.randomness import randomness_restored

LOSSES = frozenset(
    {
        *("cross_entropy", "nll_loss", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div", "gaussian_nll_loss"),
        *("binary_cross_entropy", "binary_cross_entropy_with_logits", "multilabel_soft_margin_loss", "hinge_embedding_loss"),
    }
)
_COMPARES = frozenset({"lt", "gt", "le", "ge", "eq", "ne", "bool", "isfinite", "isnan"})
_FEWEST = 3  # calls in one line
_MOST_NODES, _MOST_FRAMES = 50_000, 40
_LIBRARIES = ("torch", "trainability")


class _Call(NamedTuple):
    """A loss that was computed, and where.

    Attributes:
        name: of the function.
        file: of the program.
        line: of the file.
        node: of the graph, kept alive; the result itself is not.
        is_kept: whether the result before the last one of this line was still there, as in a list.
    """

    name: str
    file: str
    line: int
    node: Any
    is_kept: bool


def overwritten_losses(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> tuple[str, str, int, int] | None:
    """Find a line that computes several losses in one step, of which only the last takes part in the loss.

    Args:
        model: runs once more, in training mode.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.

    Returns:
        The loss function, the name of the file, the line, and how often it is called there by the same callers; None where
        more than the last takes part, or none, where results are kept or compared with each other, as the least of several is
        found, and where a gradient was taken of another one, as in the inner loop of meta-learning.
    """
    start(model)
    calls = _Calls()
    with torch.enable_grad(), randomness_restored(), calls:
        loss = forward(model, batch)
    if not isinstance(loss, Tensor) or loss.grad_fn is None:
        return None
    several = [each for each in calls.by_callers.values() if len(each) >= _FEWEST and not any(call.is_kept for call in each)]
    if not several:
        return None
    nodes = list(within([loss.grad_fn], None, _MOST_NODES))
    if len(nodes) >= _MOST_NODES:
        return None
    reached = {id(node) for node in nodes}
    for each in several:
        counts = [id(call.node) in reached for call in each]
        if counts[-1] and not any(counts[:-1]) and not any(call.node in calls.used for call in each[:-1]):
            return each[-1].name, Path(each[-1].file).name, each[-1].line, len(each)
    return None


class _Calls(TorchFunctionMode):
    """Notes each loss that is one number with a graph.

    Attributes:
        by_callers: the calls, by the lines of the program that lead to them.
        used: nodes of results that were compared, or of which a gradient was taken.
    """

    def __init__(self) -> None:
        super().__init__()
        self.by_callers: dict[tuple[tuple[str, int], ...], list[_Call]] = {}
        self.used: set[Any] = set()
        self._results: dict[tuple[tuple[str, int], ...], list[weakref.ref[Tensor]]] = {}

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").strip("_")
        if name in _COMPARES:
            self.used |= {x.grad_fn for x in args[:2] if isinstance(x, Tensor) and x.grad_fn is not None and x.numel() == 1}
        if name in LOSSES and isinstance(result, Tensor) and result.numel() == 1 and result.grad_fn is not None:
            self._note(name, result, callers(sys._getframe(1)))
        return result

    def _note(self, name: str, result: Tensor, callers: tuple[tuple[str, int], ...]) -> None:
        if not callers:
            return
        before = self._results.setdefault(callers, [])
        is_kept = len(before) > 1 and before[-2]() is not None  # the last one is overwritten only behind this call
        before.append(weakref.ref(result))
        (file, line), node = callers[0], result.grad_fn
        call = _Call(name=name, file=file, line=line, node=node, is_kept=is_kept)
        self.by_callers.setdefault(callers, []).append(call)
        result.register_hook(lambda gradient: self.used.add(node))


def callers(frame: FrameType | None) -> tuple[tuple[str, int], ...]:
    """Files and lines of the program's own functions that are being called, the innermost first."""
    found: list[tuple[str, int]] = []
    while frame is not None and len(found) < _MOST_FRAMES:
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] not in _LIBRARIES:
            found.append((frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    return tuple(found)
