"""The certain facts of a program, looked for on its first batch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import batch_size, first_examples, joined, to_device
from trainability.doctor.error_line import error_line
from trainability.doctor.facts import Facts
from trainability.doctor.measure.facts import look
from trainability.doctor.measure.loop import scalar

MAX_EXAMPLES = 64


def facts_of(
    model: nn.Module,
    batch: Any,
    *,
    loss_fn: Callable[[Any, Any], Tensor] | None = None,
    training_step: Callable[[Any, Any], Any] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    more: Sequence[Any] = (),
) -> Facts:
    """Look for certain facts; a program that it cannot run has none, and says so in its notes.

    Args:
        model: one module.
        batch: the first of the training loader; up to 64 examples of it are taken.
        loss_fn: of (output, target), where batches are (input, ..., target).
        training_step: of (model, batch), in its place.
        optimizer: over the model's parameters.
        more: further batches of the loader, for what needs many examples.
    """
    parameter = next(model.parameters(), None)
    part = first_examples(batch, MAX_EXAMPLES)
    part = to_device(part, parameter.device) if parameter is not None else part
    wide = joined((batch, *more)) if more else batch if (batch_size(batch) or 0) > MAX_EXAMPLES else None
    wide = to_device(wide, parameter.device) if parameter is not None and wide is not None else wide

    def forward(model: Any, batch: Any) -> Tensor:
        if training_step is not None:
            return scalar(training_step(model, batch))
        assert loss_fn is not None
        *inputs, target = batch
        return scalar(loss_fn(model(*inputs), target))

    try:
        return look(model, part, forward, optimizer=optimizer, wide=wide)
    except Exception as error:
        failed = error
    with contextlib.suppress(Exception):  # a graph, or a state of the batch's own size: no part of it can be taken alone
        whole = to_device(batch, parameter.device) if parameter is not None else batch
        return look(model, whole, forward, optimizer=optimizer)
    return Facts(notes=(f"certain facts: {error_line(failed)}",))
