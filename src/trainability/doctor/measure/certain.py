"""The certain facts of a program, looked for on its first batch."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import batch_size, first_examples, joined, to_device
from trainability.doctor.error_line import error_line
from trainability.doctor.facts import Facts
from trainability.doctor.measure.exits import exit_as_error
from trainability.doctor.measure.facts import look
from trainability.doctor.measure.loss_number import scalar
from trainability.doctor.measure.nested import optimizers
from trainability.doctor.measure.part_facts import look_at_parts
from trainability.doctor.measure.put_back import put_back, variables_put_back
from trainability.doctor.measure.uses import used_by
from trainability.doctor.measure.whole_step import Parts, as_one, loss_of_body

MAX_EXAMPLES = 64


def facts_of(
    model: nn.Module,
    batch: Any,
    *,
    loss_fn: Callable[[Any, Any], Tensor] | None = None,
    training_step: Callable[[Any, Any], Any] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    more: Sequence[Any] = (),
    batches: Iterable[Any] = (),
    at_start: bool = True,
    seconds: float = math.inf,
) -> Facts:
    """Look for certain facts; a program that it cannot run has none, and says so in its notes.

    Args:
        model: one module.
        batch: the first of the training loader; up to 64 examples of it are taken.
        loss_fn: of (output, target), where batches are (input, ..., target).
        training_step: of (model, batch), in its place.
        optimizer: over the model's parameters.
        more: further batches of the loader, for what needs many examples.
        batches: the loader, for what is read off many batches without the model.
        at_start: whether the weights are as initialised.
        seconds: see `look`.
    """
    parameter = next(model.parameters(), None)
    part = first_examples(batch, MAX_EXAMPLES)
    part = to_device(part, parameter.device) if parameter is not None else part
    wide = joined((batch, *more)) if more else batch if (batch_size(batch) or 0) > MAX_EXAMPLES else None
    wide = to_device(wide, parameter.device) if parameter is not None and wide is not None else wide

    def forward(model: Any, batch: Any) -> Tensor:
        with exit_as_error():
            if training_step is not None:
                return scalar(training_step(model, batch))
            assert loss_fn is not None
            *inputs, target = batch
            return scalar(loss_fn(model(*inputs), target))

    words: dict[str, Any] = {"optimizer": optimizer, "pairs_itself": training_step is not None}
    words |= {"batches": batches, "at_start": at_start, "seconds": seconds}
    reached = (*used_by(training_step), *used_by(loss_fn))  # of a step that takes its own model, and not the copy it is given
    with put_back(*reached), variables_put_back(training_step, loss_fn):
        try:
            return look(model, part, forward, wide=wide, **words)
        except Exception as error:
            failed = error
        with contextlib.suppress(Exception):  # a graph, or a state of the batch's own size: no part of it can be taken alone
            whole = to_device(batch, parameter.device) if parameter is not None else batch
            return look(model, whole, forward, **words)
    return Facts(notes=(f"certain facts: {error_line(failed)}",))


def facts_of_step(
    model: Any, batch: Any, *, step: Callable[[Any, Any, Any], Any], optimizer: Any, batches: Iterable[Any] = ()
) -> Facts | None:
    """Look for certain facts where only the whole body of the loop is known, or several models train together.

    Args:
        model: as the body is given it.
        batch: the first of the training loader, taken whole: the body may be made for its size.
        step: of (model, optimizer, batch): the body.
        optimizer: as the body is given it.
        batches: of the training loader, for what is read off many of them.

    Returns:
        The facts; None where the body uses models of its own, or structures within structures.
    """
    whole, losses = as_one(model), list[Tensor]()
    forward = loss_of_body(model, optimizer, step, losses) if whole is not None else None
    if whole is None or forward is None:
        return None
    parameter = next(whole.parameters(), None)
    batch = to_device(batch, parameter.device) if parameter is not None else batch
    turns = _held_by_each(whole, optimizer)
    with put_back(*used_by(step)), variables_put_back(step):
        if isinstance(whole, Parts):
            return look_at_parts(whole, batch, forward, losses, batches, turns)
        single = optimizer if isinstance(optimizer, torch.optim.Optimizer) else None
        found = look(whole, batch, forward, optimizer=single, pairs_itself=True, batches=batches, turns=turns)
        return replace(found, switched_off=None)  # a body may turn the gradient of a multiplier before it steps


def _held_by_each(model: nn.Module, optimizer: Any) -> list[set[str]]:
    """Names of the parameters of each of several optimizers: a body with turns trains one optimizer's in other batches."""
    found = optimizers(optimizer)
    held = [{id(p) for group in each.param_groups for p in group["params"]} for each in found]
    trained = [(name, id(p)) for name, p in model.named_parameters() if p.requires_grad]
    return [{name for name, p in trained if p in ids} for ids in held] if len(found) > 1 else []
