"""What `check` asks of a step, asked of one that was recorded in a loop that is somebody else's, once that has ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.facts import Facts
from trainability.doctor.measure.certain import facts_of
from trainability.doctor.measure.recorded_step import RecordedStep
from trainability.doctor.measure.uninterrupted import uninterrupted
from trainability.doctor.measure.workspace import workspace

_SECONDS, _PASSES = 30.0, 300  # for all questions, and about as many passes as they take
_SAME = 1e-3  # of the loss, from which the one computed again may differ


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A recorded step, and the model as it was then.

    Attributes:
        step: as a function.
        loss: that it came to.
        weights: parameters and buffers of the model, by name.
        first: likewise, before the first step; `weights` where they are not known.
        at_start: whether `first` are as they were initialised.
        was_training: modules that were in train mode, by name.
        random_state: of torch's generator on the CPU when the step began.
    """

    step: RecordedStep
    loss: float
    weights: dict[str, Tensor]
    first: dict[str, Tensor]
    at_start: bool
    was_training: set[str]
    random_state: Tensor


def facts_of_kept(
    model: nn.Module, kept: Kept, *, optimizer: torch.optim.Optimizer | None, batches: Iterable[Any] = ()
) -> Facts | None:
    """Ask a recorded step what is certain of it; the model is left as it is.

    Args:
        model: that was trained.
        kept: one of its steps.
        optimizer: that made it.
        batches: of the loop's loader, where `kept.step.batch` is one of them.

    Returns:
        The facts; None where computing the step again gives another loss, or where asking would take long.
    """

    def forward(model: nn.Module, batch: Any) -> Tensor:
        return kept.step(model, batch)

    with _weights_of(model, kept.weights):
        seconds = _seconds_again(model, kept, forward)
    if seconds is None or seconds * _PASSES > _SECONDS:
        return None
    with _weights_of(model, kept.first):
        found = facts_of(
            model, kept.step.batch, training_step=forward, optimizer=optimizer, batches=batches, at_start=kept.at_start
        )
    return replace(found, notes=())  # of questions that do not fit the recorded sizes


def _seconds_again(model: nn.Module, kept: Kept, forward: Any) -> float | None:
    """How long the step takes, in the modes and with the random numbers that it had; None where it gives another loss."""
    with workspace(model, forward, kept.step.batch) as place:
        for name, module in place.model.named_modules():
            module.training = name in kept.was_training
        torch.set_rng_state(kept.random_state)
        began = time.perf_counter()
        again = float(place.loss_fn(place.model, place.batch).detach())
        seconds = time.perf_counter() - began
    is_same = abs(again - kept.loss) <= _SAME * max(abs(kept.loss), 1e-6) or (again != again and kept.loss != kept.loss)
    return seconds if is_same else None


@contextlib.contextmanager
def _weights_of(model: nn.Module, weights: dict[str, Tensor]) -> Iterator[None]:
    """Give a model other weights and buffers while the block runs."""
    own = dict(model.named_parameters()) | dict(model.named_buffers())
    now = {name: own[name].detach().clone() for name in weights}
    try:
        for name, value in weights.items():
            own[name].data.copy_(value)
        yield
    finally:
        with uninterrupted():
            for name, value in now.items():
                own[name].data.copy_(value)
