"""Rehearsal: some steps of the loop's own body on a copy, within a time, and what they show.

What only the loop can show is seen before training: gradients that are never cleared, an optimizer that never steps or holds
other parameters, evaluation mode, a rate that dies, clipping to nothing, a loss that is not finite or does not fall.
"""

import itertools
import math
import time
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from trainability.doctor.batches import batch_size, joined, tensors, to_device
from trainability.doctor.measure.copies import copied, modules, optimizers, put_back, used_by
from trainability.doctor.measure.critical import along_update
from trainability.doctor.measure.loop import Loop, LossFn, Step, TrainingStep, scalar
from trainability.doctor.measure.randomness import generators_restored, random_state, randomness_restored, set_random_state
from trainability.doctor.measure.workspace import set_training
from trainability.doctor.rehearsed import CriticalStep, Observation, Rehearsal, RehearsedStep, Task
from trainability.doctor.tasks import recognise

CRITICAL_STEPS = (1, 5, 15, 30, 100)
REFERENCE_STEPS = (*range(0, 31, 5), *range(40, 101, 20), 150, 200, 300)
# Fewer, and luck moves the best constant answer by more than a few steps move the loss.
_REFERENCE_EXAMPLES = 128
_LAST_SHARE = 0.8  # of the time; the step that begins beyond it is the last, so that the update of the last is measured too


def rehearse(
    model: Any,
    optimizer: Any,
    batches: Iterable[Any],
    *,
    loss_fn: LossFn | None = None,
    training_step: TrainingStep | None = None,
    step: Step | None = None,
    scheduler: Any = None,
    clip: float | None = None,
    planned_steps: int | None = None,
    max_steps: int = 30,
    seconds: float = 10.0,
) -> Rehearsal:
    """Rehearses a training loop.

    One of three forms says what a step is; `step` goes before `training_step`, and that before `loss_fn`.

    Args:
        model: a module, or a dict, tuple or list of several.
        optimizer: over their parameters; likewise one or several (None with a `step` that holds its own).
        batches: as the loop draws them. The first, up to 128 examples, are kept as the reference; a loader that can be read
            again gives them to the steps once the others are used up.
        loss_fn: of (output, target), for batches (input, target) or (input, ..., target).
        training_step: of (model, batch): the loss. Backward, clipping and the optimizer's step are done here.
        step: of (model, optimizer, batch): the loop's whole body; returns the loss.
        scheduler: stepped after each step; a `step` steps its own.
        clip: gradient-norm threshold; a `step` clips by itself.
        planned_steps: length of the run.
        max_steps: at most as many steps, and no more than planned.
        seconds: at most about as long.

    Returns:
        What was seen. Models, optimizers, scheduler and random state are as before, bit for bit.

    Raises:
        ValueError: none of the three forms is given, or there is no batch.
    """
    if loss_fn is None and training_step is None and step is None:
        raise ValueError("nothing says what a step is; give loss_fn, training_step or step")
    began = time.monotonic()
    with randomness_restored(), generators_restored(batches), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the loop itself will say once is not said twice
        reference, rest = _reference_and_rest(batches)
        reached = [*used_by(step), *used_by(training_step)]
        own = {id(item) for item in (*modules(model), *optimizers(optimizer))}
        in_place = any(id(item) in own or id(getattr(item, "optimizer", None)) in own for item in reached)
        notes: tuple[str, ...] = ()
        objects = (model, optimizer, scheduler)
        if not in_place:
            try:
                objects = copied(model, optimizer, scheduler)
            except ValueError as error:
                in_place, notes = True, (str(error),)
        guarded = (*reached, *(objects if in_place else ()))
        with put_back(*guarded), torch.enable_grad():
            others = [item for item in reached if id(item) not in own]
            loop = Loop(*objects, loss_fn=loss_fn, training_step=training_step, step=step, clip=clip, others=others)
            limit = max_steps if planned_steps is None else min(max_steps, planned_steps)
            with loop.instrumented():
                found = _run(loop, reference, rest, limit, began + seconds)
    return Rehearsal(
        **found,
        planned_steps=planned_steps,
        in_place=in_place,
        seconds=time.monotonic() - began,
        notes=(*notes, *loop.notes),
    )


def _reference_and_rest(batches: Iterable[Any]) -> tuple[Any, Iterator[Any]]:
    """The first batches joined to a reference, and the others, without end where the loader can be read again."""
    iterator = iter(batches)
    first = next(iterator, None)
    if first is None:
        raise ValueError("the train loader is empty; expected at least one batch")
    kept, ahead = [first], []
    if iterator is not batches:  # what can be read once only is spared for the steps
        size = batch_size(first)
        while size and size * len(kept) < _REFERENCE_EXAMPLES and (batch := next(iterator, None)) is not None:
            kept.append(batch)
    reference = joined(kept)
    if reference is None:
        reference, ahead = first, kept[1:]
    if iterator is batches:
        return reference, iterator
    again = itertools.chain.from_iterable(iter(batches) for _ in itertools.count())
    return reference, itertools.chain(ahead, iterator, again)


def _run(loop: Loop, reference: Any, rest: Iterator[Any], max_steps: int, deadline: float) -> dict[str, Any]:
    reference = to_device(reference, loop.device)
    state = random_state()
    start = {name: p.detach().clone() for name, p in loop.parameters.items()}
    if loop.step is None:
        for part in loop.models:
            set_training(part, True)
    began = time.monotonic()
    task, observations = Task(), [_observe(loop, reference, 0, state)]
    if loop.output is not None:
        task = _task(loop, reference, observations[0].loss, state)
    steps: list[RehearsedStep] = []
    critical: list[tuple[int, CriticalStep]] = []
    ended_by = "steps"
    while len(steps) < max_steps:
        batch = next(rest, None)
        if batch is None:
            ended_by = "data"
            break
        batch = to_device(batch, loop.device)
        is_last = len(steps) + 1 == max_steps or time.monotonic() > began + _LAST_SHARE * (deadline - began)
        number = len(steps) + 1
        before = [p.detach().clone() for p in loop.parameters.values()] if is_last or number in CRITICAL_STEPS else None
        loss = loop.run(batch)
        steps.append(RehearsedStep(step=number, loss=loss, gradient_norm=loop.norm, lr=loop.rate, optimizer_steps=loop.calls))
        if before is not None and len(loop.optimizers) < 2:
            critical.append((number, along_update(loop.parameters, before, lambda batch=batch: loop.loss(batch))))
        if loss is not None and not math.isfinite(loss):
            ended_by = "not finite"
            break
        if is_last or number in REFERENCE_STEPS:
            observations.append(_observe(loop, reference, number, state))
        if is_last:
            ended_by = "steps" if number == max_steps else "time"
            break
    if len(loop.optimizers) > 1:
        loop.notes.append("the critical step: several optimizers step, and there is no one update")
    managed = {id(p) for optimizer in loop.optimizers for group in optimizer.param_groups for p in group["params"]}
    return {
        "steps": tuple(steps),
        "reference": tuple(seen for seen in observations if not math.isnan(seen.loss) or loop.forward_only is not None),
        "critical": tuple(critical),
        "task": task,
        "ended_by": ended_by,
        "unmoved": tuple(name for name, p in loop.parameters.items() if torch.equal(p.detach(), start[name])),
        "without_gradient": tuple(n for n, p in loop.parameters.items() if id(p) in managed and id(p) not in loop.reached),
        "stale_gradient": loop.stale,
        "training": loop.training,
        "in_evaluation_mode": tuple(loop.evaluating),
    }


def _observe(loop: Loop, reference: Any, step: int, state: dict[str, Any]) -> Observation:
    loop.output = None
    with randomness_restored():
        set_random_state(state)
        loss = float(loop.loss(reference))
    output = loop.output
    if output is None or not output.is_floating_point() or output.dim() == 0 or len(output) < 2:
        return Observation(step=step, loss=loss)
    values = output.detach().double()
    return Observation(
        step=step,
        loss=loss,
        output_rms=float(values.square().mean().sqrt()),
        output_spread=float(values.std(dim=0, correction=0).square().mean().sqrt()),
    )


def _task(loop: Loop, reference: Any, loss: float, state: dict[str, Any]) -> Task:
    """Recognised by the loss, on one more pass with its graph where there was none: only that tells what made the outputs."""
    if loop.forward_only is not None:
        buffers = [(b, b.detach().clone()) for part in loop.models for b in part.buffers()]
        loop.watching = False
        with randomness_restored():
            set_random_state(state)
            loss = float(scalar(loop.forward_only(loop.model, reference)).detach())
        loop.watching = True
        with torch.no_grad():
            for buffer, old in buffers:
                buffer.copy_(old)
    # Targets come last in tuples, and go by the name of labels in dicts; an autoencoder's is its input.
    found = list(tensors(reference))[::-1]
    found.sort(key=lambda item: "label" not in item[0])
    return recognise(loop.output, found, loss)
