"""Rehearsal: some steps of the loop's own body on a copy, within a time, and what they show.

What only the loop can show is seen before training: gradients that are never cleared, an optimizer that never steps or holds
other parameters, evaluation mode, a rate that dies, clipping to nothing, a loss that is not finite or does not fall.
"""

import contextlib
import itertools
import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch

from trainability.doctor.batches import batch_size, empty_line, first_examples, joined, to_device
from trainability.doctor.measure.after_steps import after_steps
from trainability.doctor.measure.averages import Averages, averages_of, slow_average
from trainability.doctor.measure.batch_statistics import by_batch_and_running
from trainability.doctor.measure.budget import FEWEST_STEPS, Budget, budget_of, fits
from trainability.doctor.measure.clips import Clips
from trainability.doctor.measure.constants import rehearsed_constant
from trainability.doctor.measure.copies import on_copy_or_in_place, steps_in_backward
from trainability.doctor.measure.growth import growth_of
from trainability.doctor.measure.left_statistics import left_statistics
from trainability.doctor.measure.loop import Loop, LossFn, Step, TrainingStep
from trainability.doctor.measure.nested import modules, optimizers
from trainability.doctor.measure.overwritten import Writes
from trainability.doctor.measure.own_statistics import unwritten_statistics
from trainability.doctor.measure.put_back import put_back, variables_put_back
from trainability.doctor.measure.randomness import generators_restored, random_state, randomness_restored
from trainability.doctor.measure.rate_ahead import held_schedule
from trainability.doctor.measure.reference import first_look, observe, task_of
from trainability.doctor.measure.rehearsed_steps import Seen, take_steps
from trainability.doctor.measure.running import without_statistics
from trainability.doctor.measure.uses import reaches, used_by
from trainability.doctor.measure.what_moved import is_finite, of_parameters, sums_of_unmanaged, with_rate
from trainability.doctor.rehearsed import Rehearsal, Task

# Fewer, and luck moves the best constant answer by more than a few steps move the loss.
_REFERENCE_EXAMPLES = 128
_FEWEST_FOR_NORMS = 10  # steps before batch norm's two statistics are compared
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
            with put_back(*guarded), variables_put_back(step, training_step, loss_fn), torch.enable_grad():
                loop = Loop(*objects, **forms)
                with loop.instrumented(), contextlib.ExitStack() as open_ones:
                    watches = Writes(loop), Clips(loop), averages_of(loop, batches)
                    for watch in watches:
                        open_ones.callback(watch.close)
                    steps = min(max_steps, planned_steps or max_steps)
                    seen = _run(loop, watches, kept[:most], rest, steps, began + seconds, enough)
                    is_own = scale == schedule_steps == 1
                    return seen | (after_steps(loop, seen, planned_steps, batches, held_out) if is_own else {})

        by_hand = scheduler is not None and step is None and scheduler_interval != "step"
        asked: dict[str, Any] = {"fewest": max_steps, "planned": planned_steps, "interval": scheduler_interval}
        held = held_schedule(scheduler, optimizer, batches, **asked) if by_hand else None
        scheduler = scheduler if held is None else None
        in_place = any(reaches(function, model, optimizer) for function in (step, training_step, loss_fn))
        in_place |= steps_in_backward(model)
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
        raise ValueError(empty_line(batches))
    if iterator is batches:  # what can be read once only is spared for the steps
        return [first], iterator
    kept, size = [first], batch_size(first)
    while size and size * len(kept) < _REFERENCE_EXAMPLES and (batch := next(iterator, None)) is not None:
        kept.append(batch)
    again = itertools.chain.from_iterable(iter(batches) for _ in itertools.count())
    return kept, itertools.chain(iterator, again)


def _run(
    loop: Loop,
    watches: tuple[Writes, Clips, Averages],
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
    reference, observations = first_look(loop, reference, alone, state)
    budget.reference_seconds = time.monotonic() - began
    task = Task() if loop.output is None else task_of(loop, reference, observations[0].loss, state)
    constant = None
    if loop.scale == 1.0 and task.chance is None:
        constant = rehearsed_constant(loop, kept, state, seconds=_CONSTANT_SHARE * budget.left())
    searched = time.monotonic() - began
    unmanaged, others = sums_of_unmanaged(loop), sums_of_unmanaged(loop, trainable=True)
    seen = Seen(observations=observations, task=task, with_rate=with_rate(loop))
    look = partial(observe, loop, reference, state)
    follow = partial(take_steps, loop, watches, max_steps=max_steps, budget=budget, seen=seen, observe=look, enough=enough)
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
    cost, lowest = constant if constant is not None and sums_of_unmanaged(loop) == unmanaged else (None, None)
    return {
        "steps": tuple(seen.steps),
        "reference": tuple(look for look in observations if not math.isnan(look.loss) or loop.forward_only is not None),
        "critical": () if loop.opposed else tuple(seen.critical),
        "growth": growth_of(loop, reference, batch_size(first), budget.left() / max(budget.reference_seconds, 1e-9)),
        "task": task,
        **_of_statistics(loop, state, seen, budget),
        **_of_averages(loop, watches[2], reference, state, budget),
        "constant_loss": cost,
        "lowest_loss": lowest,
        "moves_others": sums_of_unmanaged(loop, trainable=True) != others,
        "ended_by": ended_by,
        "rewritten": watches[0].found(),
        "vain_clip": watches[1].found(),
        "clipped": watches[1].clipped(),
        "dropped_result": watches[1].dropped.found,
        **of_parameters(loop, start, seen.with_rate),
        **_of_loop(loop),
    }


def _of_statistics(loop: Loop, state: dict[str, Any], seen: Seen, budget: Budget) -> dict[str, Any]:
    """What evaluation will go by: batch norm's statistics, and those of modules of the user's."""
    if loop.scale != 1.0 or len(seen.steps) < _FEWEST_FOR_NORMS or not is_finite(loop):
        return {}
    found: dict[str, Any] = {}
    for name, ask in (("batch_statistics", by_batch_and_running), ("unwritten", unwritten_statistics)):
        with contextlib.suppress(Exception):  # a pass that runs by itself only inside the body
            passes = int(budget.left() / max(budget.step_seconds, 1e-9))  # forward alone, a third of a step and less
            found[name] = ask(loop, list(seen.recent), state, most_passes=passes)
    return found


def _of_averages(loop: Loop, averages: Averages, reference: Any, state: dict[str, Any], budget: Budget) -> dict[str, Any]:
    """Averages of the weights that the loop moves."""
    found: dict[str, Any] = {}
    with contextlib.suppress(Exception):  # a body that runs on the loop's own batches only, time without end
        passes = int(budget.left() / max(budget.step_seconds, 1e-9))
        found["slow_average"] = slow_average(averages, loop, reference, state, most_passes=passes)
    with contextlib.suppress(Exception):
        found["left_statistics"] = left_statistics(averages, loop, reference, state)
    return found


def _limited(loop: Loop) -> tuple[tuple[str, ...], float, float] | None:
    """Weights that are held within a limit; of networks against each other only where those of every optimizer are."""
    found = loop.redrawn.limited()
    if found is None or not loop.opposed:
        return found
    cut = {id(loop.parameters[name]) for name in found[0]}
    held = [{id(p) for group in optimizer.param_groups for p in group["params"]} for optimizer in loop.optimizers]
    return found if len(held) > 1 and all(cut & each for each in held) else None


def _of_loop(loop: Loop) -> dict[str, Any]:
    """What the loop's own body was seen to do."""
    return {
        "opposed": loop.opposed,
        "redrawn": tuple(name for name, count in loop.redrawn.counts.items() if count >= FEWEST_STEPS),
        "cut_off": _limited(loop),
        "repeated_steps": loop.repeated.found(),
        "remade": loop.remade.found(),
        "rounds_steps": loop.rounds_steps,
        "stale_fraction": loop.stale.fraction,
        "stale_gradient": None if loop.stale.fraction is None else loop.stale.largest,
        "stale_holder": loop.stale_holder if loop.stale.fraction else None,
        "added_in_closure": loop.closures.found(),
        "mixed_gradient": loop.mixed,
        "divided_again": loop.pass_scales.found(),
        "mean_again": loop.pass_scales.mean_again(),
        "undivided": loop.pass_scales.undivided(),
        "training": loop.training,
        "in_evaluation_mode": tuple(loop.evaluating),
        "idle_norms": without_statistics(loop.evaluating, loop.named_models),
        "notes": tuple(loop.notes),
    }
