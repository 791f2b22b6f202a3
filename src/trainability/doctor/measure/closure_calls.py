"""Closures that an optimizer evaluates several times in a step, and whether the gradients are cleared in between."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from trainability.doctor.measure.uninterrupted import uninterrupted
from trainability.doctor.rehearsed import AddedInClosure

_MOST_CALLS = 64  # later evaluations of an optimizer's closures that are followed; behind them no closure is exchanged
_MOST_GAUGES, _MOST_NUMBERS = 8, 64  # parameters, and numbers of each, that are compared
_SCALED = 1 - 1e-5  # cosine between a gradient and what clipping by norm left of it, which bfloat16 has rounded to 2^-9
_DOWN = 3.0  # standard deviations of the cosine between a gradient and a move at random


class ClosureCalls:
    """Follows, of a few parameters, whether an evaluation of a closure adds to the very gradients that the last one left.

    Only evaluations behind the first of their step count, at other weights than the last one's: where the weights are the
    same, the sum of several gradients is one of a larger batch. Numbers are compared, and not PyTorch's counts of writes:
    clearing through `.data` is not counted. A gradient that the optimizer, or the closure, has scaled, replaced or cleared
    before the last backward pass of the evaluation is not the one that was left: an earlier pass, such as that of an attack on
    the input, may add to old gradients that are cleared behind it. Optimizers other than LBFGS may sum up gradients of several
    points on purpose, as of noise around the weights; so theirs count only where the weights have moved down those that were
    left.

    Args:
        is_asked: whether what runs now is the loop's own.
    """

    def __init__(self, is_asked: Callable[[], bool] = lambda: True) -> None:
        self._is_asked = is_asked
        self._counts: dict[int, tuple[int, int, bool]] = {}  # by id of the optimizer: as `AddedInClosure`

    def stepping(
        self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """A step begins: its arguments with a closure that is followed; None where there is none to follow.

        Args:
            optimizer: that steps.
            args: of its step, itself in front, as a step pre-hook gets them.
            kwargs: likewise.
        """
        closure: Any = args[1] if len(args) > 1 else kwargs.get("closure")
        is_function = inspect.isroutine(closure) or isinstance(closure, functools.partial)  # others may have more to ask for
        if not is_function or not self._is_asked() or torch.compiler.is_compiling():
            return None
        if self._counts.get(id(optimizer), (0, 0, False))[0] >= _MOST_CALLS:
            return None
        followed = self._followed(optimizer, closure)
        return ((args[0], followed, *args[2:]), kwargs) if len(args) > 1 else (args, {**kwargs, "closure": followed})

    def _followed(self, optimizer: torch.optim.Optimizer, closure: Callable[..., Any]) -> Callable[..., Any]:
        left: list[_Gauge] = []  # by the last evaluation of this step

        @functools.wraps(closure)
        def evaluated(*args: Any, **kwargs: Any) -> Any:
            with contextlib.suppress(Exception):
                for gauge in left:
                    gauge.watch()
            try:
                return closure(*args, **kwargs)
            finally:
                with uninterrupted(), contextlib.suppress(Exception):
                    for gauge in left:
                        gauge.close()
                    self._judge(optimizer, left)
                    left[:] = _gauges_of(optimizer)

        return evaluated

    def _judge(self, optimizer: torch.optim.Optimizer, left: list[_Gauge]) -> None:
        told = [same for gauge in left if (same := gauge.is_added_to()) is not None]
        if told and any(gauge.had_moved for gauge in left):
            later, added, _ = self._counts.get(id(optimizer), (0, 0, False))
            is_lbfgs = isinstance(optimizer, torch.optim.LBFGS)
            adds = all(told) and (is_lbfgs or _moved_down(left))
            self._counts[id(optimizer)] = later + 1, added + adds, is_lbfgs

    def found(self) -> AddedInClosure | None:
        """The counts, of several optimizers those of the one with most of them; None where nothing was added."""
        later, added, is_lbfgs = max(self._counts.values(), key=lambda counts: counts[1], default=(0, 0, False))
        return AddedInClosure(later=later, added=added, is_lbfgs=is_lbfgs) if added else None


class _Gauge:
    """A parameter, and some numbers of it and its gradient as an evaluation left them."""

    def __init__(self, parameter: Tensor, gradient: Tensor) -> None:
        self._parameter, self._weights, self.left = parameter, _some_of(parameter), _some_of(gradient)
        self._before: Tensor | None = None  # what the backward pass under way is about to add to
        self._made = self.left  # by the last pass that has added
        self._adds: bool | None = None  # each pass so far to what was there before it, from what was left on
        self._handles: list[Any] = []
        self.had_moved, self.move = False, torch.zeros_like(self.left)

    def watch(self) -> None:
        """An evaluation begins."""
        weights = _some_of(self._parameter)
        self.had_moved, self.move = not torch.equal(weights, self._weights), weights.double() - self._weights.double()
        self._handles = [self._parameter.register_hook(self._on_gradient)]
        # `torch.autograd.grad` calls the first, too, and adds to no gradient.
        self._handles.append(self._parameter.register_post_accumulate_grad_hook(self._on_added))

    def _on_gradient(self, gradient: Tensor) -> None:
        with contextlib.suppress(Exception):
            found = self._parameter.grad
            self._before = None if found is None else _some_of(found)

    def _on_added(self, parameter: Tensor) -> None:
        with contextlib.suppress(Exception):
            to_what_was_made = self._before is not None and torch.equal(self._before, self._made)
            self._adds = to_what_was_made and self._adds is not False
            assert parameter.grad is not None
            self._made = _some_of(parameter.grad)

    def close(self) -> None:
        """The evaluation is over."""
        for handle in self._handles:
            handle.remove()

    def is_added_to(self) -> bool | None:
        """Whether more was added to what was left, and returned; None where nothing was added, or zeros were left."""
        if self._adds is None or not bool(self.left.any()):
            return None
        returned = self._parameter.grad
        return self._adds and returned is not None and _is_clipped(self._made, _some_of(returned))


def _is_clipped(made: Tensor, returned: Tensor) -> bool:
    """Whether a gradient is another one, or that clipped by norm or by value."""
    if torch.equal(returned, made) or torch.equal(returned, made.clamp(-returned.abs().amax(), returned.abs().amax())):
        return True
    is_shorter = float(returned.double().norm()) <= float(made.double().norm())
    return is_shorter and float(F.cosine_similarity(returned.double(), made.double(), dim=0)) > _SCALED


def _moved_down(gauges: list[_Gauge]) -> bool:
    """Whether weights have moved against the gradients that were left, further than moves at random do."""
    move, left = (torch.cat([x.double() for x in each]) for each in zip(*((g.move, g.left) for g in gauges), strict=True))
    return float(F.cosine_similarity(move, left, dim=0)) * len(move) ** 0.5 < -_DOWN


def _gauges_of(optimizer: torch.optim.Optimizer) -> list[_Gauge]:
    held = [p for group in optimizer.param_groups for p in group["params"] if p.is_leaf and p.requires_grad]
    found = [(p, p.grad) for p in held if p.grad is not None and not hasattr(p, "to_local")]  # sharded ones call no hooks
    dense = [pair for pair in found if all(x.layout == torch.strided for x in pair)]
    return [_Gauge(*pair) for pair in dense[:: max(len(dense) // _MOST_GAUGES, 1)][:_MOST_GAUGES]]


def _some_of(tensor: Tensor) -> Tensor:
    return tensor.detach().flatten()[:_MOST_NUMBERS].nan_to_num(nan=1.0).clone()
