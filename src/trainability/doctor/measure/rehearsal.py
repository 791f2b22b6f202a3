"""Rehearsal: some steps of the loop's own body on a copy, within a time, and what they show.

What only the loop can show is seen before training: gradients that are never cleared, an optimizer that never steps or holds
other parameters, evaluation mode, a rate that dies, clipping to nothing, a loss that is not finite or does not fall.
"""

import contextlib
import itertools
import math
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from trainability.doctor.batches import batch_size, first_examples, joined, tensors, to_device
from trainability.doctor.measure.after_steps import after_steps
from trainability.doctor.measure.batch_statistics import FEWEST_BATCHES, by_batch_and_running
from trainability.doctor.measure.budget import FEWEST_STEPS, Budget, budget_of, fits
from trainability.doctor.measure.clips import Clips
from trainability.doctor.measure.constants import rehearsed_constant
from trainability.doctor.measure.copies import on_copy_or_in_place
from trainability.doctor.measure.critical import along_update
from trainability.doctor.measure.exits import ProgramExits, loss_or_exit
from trainability.doctor.measure.growth import growth_of
from trainability.doctor.measure.last_part import heads_of
from trainability.doctor.measure.loop import Loop, LossFn, Step, TrainingStep, scalar
from trainability.doctor.measure.nested import modules, optimizers
from trainability.doctor.measure.overwritten import Writes
from trainability.doctor.measure.put_back import put_back, variables_put_back
from trainability.doctor.measure.randomness import generators_restored, random_state, randomness_restored, set_random_state
from trainability.doctor.measure.rate_ahead import held_schedule
from trainability.doctor.measure.twins import is_near_constant
from trainability.doctor.measure.uses import reaches, used_by
from trainability.doctor.rehearsed import CriticalStep, Observation, Rehearsal, RehearsedStep, Task
from trainability.doctor.tasks import recognise

CRITICAL_STEPS = (1, 5, 15, 30, 60, 100)
REFERENCE_STEPS = (*range(0, 31, 5), *range(40, 101, 10), *range(120, 301, 20))
# Fewer, and luck moves the best constant answer by more than a few steps move the loss.
_REFERENCE_EXAMPLES = 128
_FEWEST_FOR_NORMS, _RECENT_EXAMPLES = 10, 32  # steps before batch norm's two statistics are compared; examples for that
_CONSTANT_SHARE = 0.2  # of the time that is left before the first step, for the best constant answer


def rehearse(
    model: Any,
    optimizer: Any,
    batches: Iterable[Any],
    *,
    loss_fn: LossFn | None = None,
    training_step: TrainingStep | None = None,
    step: Step | None = None,
    scheduler: Any = None,
    scheduler_interval: str | None = None,
    clip: float | None = None,
    planned_steps: int | None = None,
    max_steps: int = 100,
    seconds: float = 10.0,
    scale: float = 1.0,
    schedule_steps: int = 1,
    is_enough: Callable[[Rehearsal], bool] | None = None,
    held_out: Iterable[Any] | None = None,
) -> Rehearsal:
    """Rehearse a training loop.

    One of three forms says what a step is; `step` goes before `training_step`, and that before `loss_fn`.

    Args:
        model: a module, or a dict, tuple or list of several.
        optimizer: over their parameters; likewise one or several (None with a `step` that holds its own).
        batches: as the loop draws them. The first, up to 128 examples, are kept as the reference; a loader that can be read
            again gives them to the steps once the others are used up.
        loss_fn: of (output, target), for batches (input, target) or (input, ..., target).
        training_step: of (model, batch): the loss. Backward, clipping and the optimizer's step are done here.
        step: of (model, optimizer, batch): the loop's whole body; returns the loss.
        scheduler: stepped after each step, unless `held_schedule` says that it is, or may be, stepped per epoch; a `step` steps
            its own.
        scheduler_interval: "step" or "epoch"; None where that is not known.
        clip: gradient-norm threshold; a `step` clips by itself.
        planned_steps: length of the run.
        max_steps: at most as many steps, and no more than planned.
        seconds: at most about as long.
        scale: learning rates are multiplied by it; at another than 1, critical steps are not measured.
        schedule_steps: steps of the scheduler for each that the loop makes.
        is_enough: asked with what was seen so far, where the last step is a critical one that was also looked at; ends it.
        held_out: batches of validation, whose classes the copy is asked about behind the last step.

    Returns:
        What was seen. Models, optimizers, scheduler and random state are as before, bit for bit.

    Raises:
        ValueError: none of the three forms is given, or there is no batch.
    """
    if loss_fn is None and training_step is None and step is None:
        raise ValueError("nothing says what a step is; give loss_fn, training_step or step")
    began = time.monotonic()

    def enough(**seen: Any) -> bool:
        took = time.monotonic() - began
        return is_enough is not None and is_enough(Rehearsal(**seen, planned_steps=planned_steps, seconds=took))

    with randomness_restored(), generators_restored(batches), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the loop itself will say once is not said twice
        kept, rest = _kept_and_rest(batches)
        reached = [*used_by(step), *used_by(training_step), *used_by(optimizer)]
        own = {id(item) for item in (*modules(model), *optimizers(optimizer))}
        forms: dict[str, Any] = {"loss_fn": loss_fn, "training_step": training_step, "step": step, "clip": clip}
        forms |= {"scale": scale, "schedule_steps": schedule_steps, "others": [i for i in reached if id(i) not in own]}

        def run(objects: tuple[Any, ...], guarded: tuple[Any, ...], most: int | None = None) -> dict[str, Any]:
            with put_back(*guarded), variables_put_back(step, training_step), torch.enable_grad():
                loop = Loop(*objects, **forms)
                with loop.instrumented(), contextlib.closing(Writes(loop)) as writes, contextlib.closing(Clips(loop)) as clips:
                    steps = min(max_steps, planned_steps or max_steps)
                    seen = _run(loop, (writes, clips), kept[:most], rest, steps, began + seconds, enough)
                    is_own = scale == schedule_steps == 1
                    return seen | (after_steps(loop, seen, planned_steps, batches, held_out) if is_own else {})

        by_hand = scheduler is not None and step is None and scheduler_interval != "step"
        asked: dict[str, Any] = {"fewest": max_steps, "planned": planned_steps, "interval": scheduler_interval}
        held = held_schedule(scheduler, optimizer, batches, **asked) if by_hand else None
        scheduler = scheduler if held is None else None
        in_place = any(reaches(function, model, optimizer) for function in (step, training_step))
        in_place, found = on_copy_or_in_place(run, (model, optimizer, scheduler), tuple(reached), in_place, len(kept))
    if held is not None:
        found |= {**held, "schedule_held": True}
    found["scheduler_interval"] = scheduler_interval
    return Rehearsal(**found, planned_steps=planned_steps, in_place=in_place, seconds=time.monotonic() - began)


def _kept_and_rest(batches: Iterable[Any]) -> tuple[list[Any], Iterator[Any]]:
    """The first batches, of which the reference is made, and the others, without end where the loader can be read again."""
    iterator = iter(batches)
    first = next(iterator, None)
    if first is None:
        raise ValueError("the train loader is empty; expected at least one batch")
    if iterator is batches:  # what can be read once only is spared for the steps
        return [first], iterator
    kept, size = [first], batch_size(first)
    while size and size * len(kept) < _REFERENCE_EXAMPLES and (batch := next(iterator, None)) is not None:
        kept.append(batch)
    again = itertools.chain.from_iterable(iter(batches) for _ in itertools.count())
    return kept, itertools.chain(iterator, again)


@dataclass(kw_only=True)
class _Seen:
    """What the steps showed so far."""

    observations: list[Observation]
    task: Task
    steps: list[RehearsedStep] = field(default_factory=list)
    critical: list[tuple[int, CriticalStep]] = field(default_factory=list)
    with_rate: set[int] = field(default_factory=set)
    recent: deque[Any] = field(default_factory=deque)

    def is_enough(self, enough: Callable[..., bool]) -> bool:
        """Whether the last step, both a critical one and one that was looked at, already tells what more would."""
        looked = self.critical and self.critical[-1][0] == self.observations[-1].step == len(self.steps)
        return bool(looked) and enough(
            steps=tuple(self.steps),
            reference=tuple(self.observations),
            critical=tuple(self.critical),
            task=self.task,
        )


def _run(
    loop: Loop,
    watches: tuple[Writes, Clips],
    kept: list[Any],
    rest: Iterator[Any],
    max_steps: int,
    deadline: float,
    enough: Callable[..., bool],
) -> dict[str, Any]:
    together = joined(kept)
    reference = to_device(kept[0] if together is None else together, loop.device)
    state = random_state()
    batches = itertools.chain(kept[1:] if together is None else (), rest)
    first = next(batches, None)
    budget = budget_of(loop, reference, batch_size(first) if first is not None else None, deadline)
    if not fits(budget, FEWEST_STEPS):
        reference = first_examples(reference, max(2, (batch_size(first) or 0)))
        needed = FEWEST_STEPS * budget.step_seconds + budget.critical_seconds
        if needed > budget.left():
            loop.notes.append(f"some steps of the loop: {FEWEST_STEPS} of them take about {needed:.0f} s (rehearse_seconds)")
            return {"steps": (), "reference": (), "ended_by": "time", "notes": tuple(loop.notes)}
    start = {name: p.detach().clone() for name, p in loop.parameters.items()}
    began = time.monotonic()
    alone = None if len(kept) == 1 or together is None else to_device(kept[0], loop.device)
    reference, observations = _first_look(loop, reference, alone, state)
    budget.reference_seconds = time.monotonic() - began
    task = Task() if loop.output is None else _task(loop, reference, observations[0].loss, state)
    constant = None
    if loop.scale == 1.0 and task.chance is None:
        constant = rehearsed_constant(loop, kept, state, seconds=_CONSTANT_SHARE * budget.left())
    searched = time.monotonic() - began
    unmanaged, others = _sums_of_unmanaged(loop), _sums_of_unmanaged(loop, trainable=True)
    seen = _Seen(observations=observations, task=task, with_rate=_with_rate(loop))
    look = partial(_observe, loop, reference, state)
    follow = partial(_steps, loop, watches, max_steps=max_steps, budget=budget, seen=seen, observe=look, enough=enough)
    fresh = (first,) if first is not None else ()
    try:
        ended_by = follow(itertools.chain(fresh, batches))
    except Exception:
        if seen.steps:
            raise
        # A body that carries a state on from batch to batch may begin with none but the loader's first.
        ended_by = follow(itertools.chain(kept, fresh, batches))
    if loop.scale == 1.0 and task.chance is None and not loop.opposed and ended_by != "not finite":
        later = rehearsed_constant(loop, kept, state, before=False, seconds=max(searched, _CONSTANT_SHARE * budget.left()))
        constant = min((found for found in (constant, later) if found is not None), default=None)
    # Goals that a slow copy makes move.
    cost, lowest = constant if constant is not None and _sums_of_unmanaged(loop) == unmanaged else (None, None)
    return {
        "steps": tuple(seen.steps),
        "reference": tuple(look for look in observations if not math.isnan(look.loss) or loop.forward_only is not None),
        "critical": () if loop.opposed else tuple(seen.critical),
        "growth": growth_of(loop, reference, batch_size(first), budget.left() / max(budget.reference_seconds, 1e-9)),
        "task": task,
        **_of_batch_norm(loop, state, seen, budget),
        "constant_loss": cost,
        "lowest_loss": lowest,
        "moves_others": _sums_of_unmanaged(loop, trainable=True) != others,
        "ended_by": ended_by,
        "rewritten": watches[0].found(),
        "vain_clip": watches[1].found(),
        "clipped": watches[1].clipped(),
        "dropped_result": watches[1].dropped.found,
        **_of_parameters(loop, start, seen.with_rate),
        **_of_loop(loop),
    }


def _of_batch_norm(loop: Loop, state: dict[str, Any], seen: _Seen, budget: Budget) -> dict[str, Any]:
    if loop.scale != 1.0 or len(seen.steps) < _FEWEST_FOR_NORMS or not _finite(loop):
        return {}
    with contextlib.suppress(Exception):  # a pass that runs by itself only inside the body
        passes = int(budget.left() / max(budget.step_seconds, 1e-9))  # forward alone, a third of a step and less
        return {"batch_statistics": by_batch_and_running(loop, list(seen.recent), state, most_passes=passes)}
    return {}


def _steps(
    loop: Loop,
    watches: tuple[Writes, Clips],
    batches: Iterator[Any],
    *,
    max_steps: int,
    budget: Budget,
    seen: _Seen,
    observe: Callable[[int], Observation],
    enough: Callable[..., bool],
) -> str:
    """Takes the steps, adds to `seen` what they show, and returns what ended them."""
    writes, clips = watches
    postponed = False  # an update is followed where one is made: of gradients that add up over several bodies, in the last
    for number, batch in enumerate(batches, start=1):
        seen.recent.append(batch)
        if len(seen.recent) > max(FEWEST_BATCHES, _RECENT_EXAMPLES // (batch_size(batch) or 1)):
            seen.recent.popleft()
        batch = to_device(batch, loop.device)
        is_last = number == max_steps or not budget.allows(looks=1, criticals=0)
        measured = is_last or ((postponed or number in CRITICAL_STEPS) and budget.allows(looks=1, criticals=1))
        measured = measured and loop.scale == 1.0
        before = [p.detach().clone() for p in loop.parameters.values()] if measured else None
        writes.turn(number)
        clips.begin_body()
        began = time.monotonic()
        try:
            loss = loop.run(batch)
        except Exception as error:
            # What raises is what NaN does to the loop's own checks, of the weights or of the loss before it steps.
            if seen.steps and (not _finite(loop) or (isinstance(error, ProgramExits) and error.nonfinite)):
                seen.steps.append(RehearsedStep(step=number, loss=math.nan, lr=loop.rate))
                return "not finite"
            raise
        clips.end_body()
        budget.step_seconds = time.monotonic() - began
        seen.with_rate |= _with_rate(loop)
        norm, calls = loop.norm, loop.calls
        seen.steps.append(RehearsedStep(step=number, loss=loss, gradient_norm=norm, lr=loop.rate, optimizer_steps=calls))
        postponed = before is not None and not calls and all(map(torch.equal, loop.parameters.values(), before))
        postponed &= not is_last or any(step.optimizer_steps for step in seen.steps)
        if before is not None and not postponed and not loop.opposed:
            try:
                seen.critical.append(
                    (
                        number,
                        along_update(loop.parameters, before, partial(loss_or_exit, partial(loop.loss, batch), anyhow=True)),
                    )
                )
            except Exception:
                if _finite(loop):
                    raise
        if loss is not None and not math.isfinite(loss):
            return "not finite"
        if is_last or (number in REFERENCE_STEPS and budget.allows(looks=1, criticals=0)):
            seen.observations.append(observe(number))
        if is_last:
            return "steps" if number == max_steps else "time"
        if seen.is_enough(enough):
            return "enough"
    return "data"


def _of_parameters(loop: Loop, start: dict[str, torch.Tensor], with_rate: set[int]) -> dict[str, Any]:
    """What the steps did to the parameters."""
    managed = {id(p) for optimizer in loop.optimizers for group in optimizer.param_groups for p in group["params"]}
    unmoved = tuple(name for name, p in loop.parameters.items() if torch.equal(p.detach(), start[name]))
    idle = loop.idle
    return {
        "distances": _distances(loop, start) if loop.opposed else (),
        "unmoved": unmoved,
        "not_written": tuple(name for name in unmoved if id(loop.parameters[name]) in loop.resolved),
        "without_gradient": tuple(
            n for n, p in loop.parameters.items() if id(p) in managed and id(p) not in loop.reached and n not in idle
        ),
        "idle": idle,
        "zero_rate": tuple(n for n, p in loop.parameters.items() if id(p) in managed - with_rate),
        "num_parameters": len(loop.parameters),
        "parted": tuple(n for n, p in loop.parameters.items() if is_near_constant(start[n]) and not is_near_constant(p)),
    }


def _sums_of_unmanaged(loop: Loop, *, trainable: bool = False) -> list[float]:
    """Of each parameter, or trainable one, that no optimizer has, the sum: it stays, unless the loop itself moves it."""
    managed = {id(p) for optimizer in loop.optimizers for group in optimizer.param_groups for p in group["params"]}
    all_of_them = (p for model in loop.models for p in model.parameters())
    still = (p for p in all_of_them if id(p) not in managed and (p.requires_grad or not trainable))
    return [float(p.detach().sum()) for p in still if not p.is_complex()]


def _of_loop(loop: Loop) -> dict[str, Any]:
    """What the loop's own body was seen to do."""
    return {
        "opposed": loop.opposed,
        "redrawn": tuple(name for name, count in loop.redrawn.items() if count >= FEWEST_STEPS),
        "stale_fraction": loop.stale_steps / loop.judged_steps if loop.judged_steps else None,
        "stale_gradient": loop.stale if loop.judged_steps else None,
        "mixed_gradient": loop.mixed,
        "training": loop.training,
        "in_evaluation_mode": tuple(loop.evaluating),
        "notes": tuple(loop.notes),
    }


def _distances(loop: Loop, start: dict[str, torch.Tensor]) -> tuple[float, ...]:
    """Of each optimizer's parameters from their start, over their norm there; those that started at zero are left out."""
    found = []
    for optimizer in loop.optimizers:
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        pairs = [(p.detach(), start[name]) for name, p in loop.parameters.items() if id(p) in held and bool(start[name].any())]
        norms = [(float(torch.linalg.vector_norm(p - old)), float(torch.linalg.vector_norm(old))) for p, old in pairs]
        went, size = (math.hypot(*each) for each in zip(*norms, strict=True)) if norms else (0.0, 1.0)
        found.append(went / size)
    return tuple(found)


def _first_look(loop: Loop, reference: Any, alone: Any, state: dict[str, Any]) -> tuple[Any, list[Observation]]:
    """Look at the reference, or at one batch `alone` where several cannot go through the model together."""
    try:
        look = _observe(loop, reference, state, 0)
    except Exception:  # a hidden state, or a length, of the batch's own size
        if alone is None:
            raise
        reference, look = alone, _observe(loop, alone, state, 0)
    if loop.output is None and (heads := heads_of(loop, reference, state)):
        loop.answers_by(heads[-1])
        look = _observe(loop, reference, state, 0)
    return reference, [look]


def _with_rate(loop: Loop) -> set[int]:
    """Parameters whose group has a learning rate other than 0 now, by id."""
    groups = [group for optimizer in loop.optimizers for group in optimizer.param_groups]
    return {id(p) for group in groups if float(group.get("lr", 1.0)) != 0 for p in group["params"]}


def _finite(loop: Loop) -> bool:
    return all(bool(torch.isfinite(p.detach()).all()) for p in loop.parameters.values())


def _observe(loop: Loop, reference: Any, state: dict[str, Any], step: int) -> Observation:
    loop.output = None
    with randomness_restored():
        set_random_state(state)
        loss = float(loss_or_exit(partial(loop.loss, reference, afresh=True)))
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
        with randomness_restored(), loop.undisturbed(afresh=True):
            set_random_state(state)
            loss = float(scalar(loop.forward_only(loop.model, reference)).detach())
    # Targets come last in tuples, and go by the name of labels in dicts; an autoencoder's is its input.
    found = list(tensors(reference))[::-1]
    found.sort(key=lambda item: "label" not in item[0])
    return recognise(loop.output, found, loss)
