"""Losses of the steps of a loop of which only the last one counts: `loss = ...` where `loss = loss + ...` is meant."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.measure.nodes import within
from trainability.doctor.measure.randomness import randomness_restored

_LOSSES = frozenset(
    {
        *("cross_entropy", "nll_loss", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div", "gaussian_nll_loss"),
        *("binary_cross_entropy", "binary_cross_entropy_with_logits", "multilabel_soft_margin_loss", "hinge_embedding_loss"),
    }
)
_FEWEST = 3  # calls in one line
_MOST_NODES = 50_000
_LIBRARIES = ("torch", "trainability")


class _Call(NamedTuple):
    """A loss that was computed, and where."""

    name: str
    file: str
    line: int
    value: Tensor


def overwritten_losses(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> tuple[str, str, int, int] | None:
    """Find a line that computes several losses in one step, of which only the last takes part in the loss.

    Args:
        model: runs once more.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.

    Returns:
        The loss function, the name of the file, the line, and how often it is called there; None where more than the last
        takes part, or none, and where a gradient was taken of another one, as in the inner loop of meta-learning.
    """
    calls = _Calls()
    with torch.enable_grad(), randomness_restored(), calls:
        loss = forward(model, batch)
    if not isinstance(loss, Tensor) or loss.grad_fn is None:
        return None
    by_line: dict[tuple[str, int], list[_Call]] = {}
    for call in calls.found:
        by_line.setdefault((call.file, call.line), []).append(call)
    several = [each for each in by_line.values() if len(each) >= _FEWEST]
    if not several:
        return None
    nodes = list(within([loss.grad_fn], None, _MOST_NODES))
    if len(nodes) >= _MOST_NODES:
        return None
    reached = {id(node) for node in nodes}
    for each in several:
        counts = [id(call.value.grad_fn) in reached or id(call.value) in calls.asked for call in each]
        if counts[-1] and not any(counts[:-1]):
            return each[-1].name, Path(each[-1].file).name, each[-1].line, len(each)
    return None


class _Calls(TorchFunctionMode):
    """Notes each loss that is one number with a graph.

    Attributes:
        found: the calls, in their order.
        asked: ids of results of which a gradient was taken.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[_Call] = []
        self.asked: set[int] = set()

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in _LOSSES and isinstance(result, Tensor) and result.numel() == 1 and result.grad_fn is not None:
            frame = sys._getframe(1)
            while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] in _LIBRARIES:
                frame = frame.f_back
            if frame is not None:
                self.found.append(_Call(name, frame.f_code.co_filename, frame.f_lineno, result))
                result.register_hook(self._on_gradient(id(result)))
        return result

    def _on_gradient(self, key: int) -> Callable[[Tensor], None]:
        return lambda gradient: self.asked.add(key)
