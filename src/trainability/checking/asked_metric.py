"""The program's metric, tested on known cases in the form of the program's own outputs."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.answer_form import answer_form
from trainability.doctor.audit_results import AnswerForm, MetricAudit
from trainability.doctor.batches import call_model, map_parts, tensors, to_device
from trainability.doctor.facts import Facts
from trainability.doctor.measure.copies import copied
from trainability.doctor.measure.metric_audit import audit_metric, takes
from trainability.doctor.measure.randomness import randomness_restored
from trainability.doctor.rehearsed import Task
from trainability.doctor.setup import Setup

_MOST_LEVELS = 10


def asked_metric(
    setup: Setup, first: Any, facts: Facts | None, task: Task | None, num_logits: int | None, problems: list[str]
) -> MetricAudit | None:
    """Audit the metric in the form of the program's own outputs and targets.

    Args:
        setup: the program, with its metric.
        first: its first batch.
        facts: of the program; None if there are none.
        task: as the rehearsal recognised it; None without a rehearsal.
        num_logits: width of the output, as the probe saw it; None without one.
        problems: gets the reason if the metric was not tested.

    Returns:
        The audit; None if the meaning of the outputs is not known, and if the metric accepts the model's own outputs but no
        generated ones, as with a metric written for a fixed number of places.
    """
    form = answer_form(facts, task, num_logits or setup.num_classes)
    if form is None:
        problems.append("metric: what the outputs mean is not known (audit_metric, form=trainability.doctor.AnswerForm(...))")
        return None
    if form.kind == "regression":
        form = dataclasses.replace(form, levels=_levels(first))
    own = _own_answer(setup, first)
    audit = audit_metric(setup.metric, form=form, in_structure=_in_structure(own, form))
    if all(case.error for case in audit.cases) and own is not None and _takes_own(setup, first, own):
        problems.append("metric: it takes the model's own answers, and none of other numbers of places or values")
        return None
    return audit


def _levels(first: Any) -> tuple[float, ...]:
    """The numbers that the targets of a batch of pairs take, where these are few or whole; else ()."""
    target = first[1] if isinstance(first, tuple | list) and len(first) == 2 else None
    if not isinstance(target, Tensor) or target.is_complex():
        return ()
    levels = target.detach().double().unique()
    most = min(_MOST_LEVELS, target.numel() / 4) if target.is_floating_point() else _MOST_LEVELS
    are_whole = bool((levels == levels.round()).all())  # answers may be rounded before they are compared
    return tuple(levels.tolist()) if len(levels) >= 2 and (are_whole or len(levels) <= most) else ()


def _own_answer(setup: Setup, first: Any) -> Any:
    """What the model returns for the first batch when it is evaluated; None where that is not known."""
    if setup.whole_model is None or not (isinstance(first, tuple | list) and len(first) == 2):
        return None
    (model,) = copied(setup.whole_model)
    with randomness_restored(), torch.no_grad(), contextlib.suppress(Exception):  # a step that calls its model in its own way
        return call_model(model.eval(), _on_its_device(setup, first)[0])
    return None


def _takes_own(setup: Setup, first: Any, own: Any) -> bool:
    """Whether the metric accepts the model's outputs for the first batch, as a loop would pass them."""
    with randomness_restored(), torch.no_grad(), contextlib.suppress(Exception):
        return takes(setup.metric, own, _on_its_device(setup, first)[1])
    return False


def _on_its_device(setup: Setup, batch: Any) -> Any:
    assert setup.whole_model is not None
    parameter = next(setup.whole_model.parameters(), None)
    return to_device(batch, parameter.device) if parameter is not None else batch


def _in_structure(own: Any, form: AnswerForm) -> Callable[[Tensor], Any]:
    """Puts outputs in the place of the model's own in what it returns; the other tensors there repeat their first rows."""
    place = next((t for _, t in tensors(own) if t.dim() > 0 and tuple(t.shape[1:]) == form.output), None)
    if place is None or isinstance(own, Tensor):
        return lambda output: output

    def with_output(output: Tensor, part: Any) -> Any:
        if part is place:
            return output
        if isinstance(part, Tensor):
            is_of_examples = part.dim() > 0 and len(part) == len(place) > 0
            return part[torch.arange(len(output)) % len(part)] if is_of_examples else part
        return map_parts(part, lambda inner: with_output(output, inner))

    return lambda output: with_output(output, own)
