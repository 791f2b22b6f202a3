"""Averages of the weights whose batch norms keep the statistics of their start."""

from __future__ import annotations

import contextlib
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainability.doctor.measure.averages import Averages
from trainability.doctor.measure.batch_statistics import set_modes
from trainability.doctor.measure.left_behind import LeftBehind
from trainability.doctor.measure.loop import Loop
from trainability.doctor.measure.randomness import randomness_restored, set_random_state
from trainability.doctor.rehearsed import LeftStatistics

_FEWEST_PASSES = 10  # in training mode, that the trained twin's statistics have seen


def left_statistics(averages: Averages, loop: Loop, reference: Any, state: dict[str, Any]) -> LeftStatistics | None:
    """Look for a copy of a trained network that the steps move, and whose batch norms have a mean of 0 and a variance of 1.

    Args:
        averages: behind the last step.
        loop: likewise.
        reference: a batch, on which the loop's own forward pass tells whether the copy is asked.
        state: of the random numbers, set before every pass.

    Returns:
        The first that is asked in evaluation mode, by the loss or where the model evaluates; None without one.
    """
    for pair, start in averages.pairs:
        norms, twins = (_norms(module) for module in (pair.part, pair.module))
        if not norms or len(norms) != len(twins) or not all(map(_is_at_start, norms)):
            continue
        if any(int(_passes(m)) < _FEWEST_PASSES for m in twins) or not averages.has_moved(pair, start):
            continue
        off = max(map(_mean_square, twins), key=lambda square: max(square, 1 / max(square, 1e-30)))
        for evaluates in (False, True):
            if _asks(loop, norms, reference, state, evaluates=evaluates):
                told = {"name": pair.name, "twin": pair.twin, "count": len(norms), "mean_square": off}
                return LeftStatistics(**told, in_loss=not evaluates)
    return None


def _norms(module: nn.Module | None) -> list[_BatchNorm]:
    modules = module.modules() if module is not None else ()
    return [m for m in modules if isinstance(m, _BatchNorm) and m.track_running_stats and m.running_mean is not None]


def _passes(norm: _BatchNorm) -> Tensor | int:
    return norm.num_batches_tracked if norm.num_batches_tracked is not None else 0


def _is_at_start(norm: _BatchNorm) -> bool:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return not int(_passes(norm)) and not bool(norm.running_mean.any()) and bool((norm.running_var == 1).all())


def _mean_square(norm: _BatchNorm) -> float:
    """Of the numbers that a mean of 0 and a variance of 1 leave as they are, by the statistics of the trained twin."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return float((norm.running_mean.double().square() + norm.running_var.double()).mean())


def _asks(loop: Loop, norms: list[_BatchNorm], reference: Any, state: dict[str, Any], *, evaluates: bool) -> bool:
    """Whether a pass runs these batch norms in evaluation mode."""
    asked: set[int] = set()

    def seen(module: nn.Module, args: Any) -> None:
        if not module.training:
            asked.add(id(module))

    modes = [(m, m.training) for part in loop.models for m in part.modules()]
    handles = [norm.register_forward_pre_hook(LeftBehind(seen)) for norm in norms]
    try:
        if evaluates:
            set_modes([m for m, _ in modes], training=False)
        # A body that goes backward has nothing to go back through where a frozen copy answers: it was asked all the same.
        with randomness_restored(), contextlib.suppress(Exception):
            set_random_state(state)
            loop.loss(reference)
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes:
            module.training = training
    return len(asked) == len(norms)
