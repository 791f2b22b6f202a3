"""Modules of the user's that keep statistics for evaluation by themselves, and whether training ever writes them."""

from __future__ import annotations

import inspect
import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import to_device
from trainability.doctor.measure.batch_statistics import set_modes
from trainability.doctor.measure.loop import Loop
from trainability.doctor.measure.loss_number import scalar
from trainability.doctor.measure.randomness import randomness_restored, set_random_state
from trainability.doctor.rehearsed import UnwrittenStatistics

_MOST_BATCHES = 4


def unwritten_statistics(
    loop: Loop, batches: Sequence[Any], state: dict[str, Any], *, most_passes: int
) -> UnwrittenStatistics | None:
    """Look for tensors that a module reads in evaluation mode alone, and that no pass in training mode writes.

    Args:
        loop: after its steps.
        batches: of the loop.
        state: of the random numbers, set before every pass.
        most_passes: forward passes that there is time for.

    Returns:
        The first such module, and the mean loss with all of them in training and in evaluation mode, with everything else as
        it is in training; None without one.
    """
    batches = batches[:_MOST_BATCHES]
    if loop.forward_only is None or loop.opposed or len(loop.models) != 1 or not batches:
        return None
    keepers = [(name, m) for name, m in loop.models[0].named_modules() if _is_own(m) and m.training and _kept(m)]
    keepers = [(name, m) for name, m in keepers if not _has_a_writer(m, loop.models[0])]
    if not keepers or most_passes < 2 * len(batches) + 2 * len(keepers):
        return None
    with loop.undisturbed(afresh=False), randomness_restored(), torch.no_grad():
        before = [[tensor.clone() for tensor in _kept(m)] for _, m in keepers]
        training = _mean_loss(loop, batches, state)
        idle = [pair for pair, old in zip(keepers, before, strict=True) if _same(_kept(pair[1]), old)]
        idle = [(name, m) for name, m in idle if _is_for_evaluation(loop, m, batches[0], state)]
        if not idle:
            return None
        set_modes([m for _, m in idle], training=False)
        try:
            evaluation = _mean_loss(loop, batches, state)
        finally:
            set_modes([m for _, m in idle], training=True)
    name, module = idle[0]
    return UnwrittenStatistics(
        module=name, kind=type(module).__name__, count=len(idle), training=training, evaluation=evaluation
    )


def _is_own(module: nn.Module) -> bool:
    return not type(module).__module__.startswith("torch.")


def _kept(module: nn.Module) -> list[Tensor]:
    """The module's own tensors of numbers that are no parameters: buffers, and plain attributes."""
    held: Iterator[Any] = iter((*module._buffers.values(), *vars(module).values()))
    return [
        t for t in held if isinstance(t, Tensor) and not isinstance(t, nn.Parameter) and t.is_floating_point() and t.is_leaf
    ]


def _has_a_writer(module: nn.Module, model: nn.Module) -> bool:
    """Whether a method that no pass calls by itself names such a tensor: it may be filled after an epoch."""
    own = {name for name, t in (*module._buffers.items(), *vars(module).items()) if isinstance(t, Tensor)}
    passes = ("__init__", "forward", "extra_repr", "__repr__")
    held = [item for kind in {type(module), type(model)} for item in vars(kind).items()]
    methods = [each for name, each in held if inspect.isfunction(each) and name not in passes]
    forward = getattr(type(module), "forward", None)
    called = set(forward.__code__.co_names) if inspect.isfunction(forward) else set()
    return any(own & set(method.__code__.co_names) and method.__name__ not in called for method in methods)


def _same(now: Sequence[Tensor], old: Sequence[Tensor]) -> bool:
    return len(now) == len(old) and all(map(torch.equal, now, old))


def _is_for_evaluation(loop: Loop, module: nn.Module, batch: Any, state: dict[str, Any]) -> bool:
    """Whether the loss depends on the module's tensors in evaluation mode, and not in training mode."""
    changed = []
    for training in (True, False):
        module.training = training
        try:
            plain = _loss(loop, batch, state)
            old = [(tensor, tensor.clone()) for tensor in _kept(module)]
            try:
                for tensor, _ in old:
                    tensor.mul_(1.5).add_(0.25)
                changed.append(_loss(loop, batch, state) != plain)
            finally:
                for tensor, value in old:
                    tensor.copy_(value)
        finally:
            module.training = True
    return changed == [False, True]


def _mean_loss(loop: Loop, batches: Sequence[Any], state: dict[str, Any]) -> float:
    losses = [_loss(loop, batch, state) for batch in batches]
    return statistics.fmean(losses) if all(map(math.isfinite, losses)) else math.inf


def _loss(loop: Loop, batch: Any, state: dict[str, Any]) -> float:
    assert loop.forward_only is not None
    set_random_state(state)
    return float(scalar(loop.forward_only(loop.model, to_device(batch, loop.device))))
