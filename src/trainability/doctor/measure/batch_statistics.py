"""Batch norm after the rehearsed steps: the loss by each batch's own statistics, and by the running ones of evaluation."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from trainability.doctor.batches import batch_size, to_device
from trainability.doctor.measure.loop import Loop
from trainability.doctor.measure.loss_number import scalar
from trainability.doctor.measure.randomness import randomness_restored, set_random_state

FEWEST_BATCHES = 4


def by_batch_and_running(
    loop: Loop, batches: list[Any], state: dict[str, Any], *, most_passes: int
) -> tuple[float, float, int] | None:
    """Compare the two statistics that batch norm has, with nothing else between training and evaluation.

    The weights stay as the rehearsal left them, dropout is off, and the running statistics are first measured anew, as means
    over the batches: while weights change fast they lag behind in any program, the more so the deeper it is.

    Args:
        loop: after its steps.
        batches: of the loop, each as it was drawn.
        state: of the random numbers, set before every pass.
        most_passes: forward passes that there is time for.

    Returns:
        The mean loss by the statistics of each batch, that by the running ones, and the examples of a batch; None without batch
        norm that tells the two apart, where only the whole body is known, and where there is no time.
    """
    layers = [m for part in loop.models for m in part.modules()]
    norms = [m for m in layers if isinstance(m, _BatchNorm) and m.training and m.track_running_stats and m.momentum]
    if not norms or loop.forward_only is None or loop.opposed or len(loop.models) != 1:
        return None
    if len(batches) < FEWEST_BATCHES or 3 * len(batches) > most_passes:
        return None
    others = [m for m in layers if isinstance(m, _DropoutNd) and m.training]
    with loop.undisturbed(afresh=False), randomness_restored(), torch.no_grad():
        modes, momenta = [(m, m.training) for m in (*norms, *others)], [m.momentum for m in norms]
        try:
            set_modes(others, training=False)
            for module in norms:
                module.reset_running_stats()
            for count, batch in enumerate(batches, start=1):
                for module in norms:
                    module.momentum = 1 / count  # which makes a mean of all
                _loss(loop, batch, state)
            kept = [(b, b.clone()) for m in norms for b in m.buffers()]
            own = statistics.fmean(_loss(loop, batch, state) for batch in batches)
            for buffer, value in kept:
                buffer.copy_(value)
            set_modes(norms, training=False)
            running = statistics.fmean(_loss(loop, batch, state) for batch in batches)
        finally:
            for module, training in modes:
                module.training = training
            for module, momentum in zip(norms, momenta, strict=True):
                module.momentum = momentum
    return own, running, batch_size(batches[0]) or 0


def set_modes(modules: Sequence[nn.Module], *, training: bool) -> None:
    """Set the mode of these modules, and of none inside of them."""
    for module in modules:
        module.training = training


def _loss(loop: Loop, batch: Any, state: dict[str, Any]) -> float:
    assert loop.forward_only is not None
    set_random_state(state)
    return float(scalar(loop.forward_only(loop.model, to_device(batch, loop.device))))
