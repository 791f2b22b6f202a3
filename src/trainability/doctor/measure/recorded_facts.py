"""What `check` asks of a step, asked of one that was recorded in a loop that is somebody else's, once that has ended."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.facts import Facts
from trainability.doctor.measure.certain import facts_of
from trainability.doctor.measure.copies import copied
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.kept_targets import Held, draws_anew, place_of_input, unrelated
from trainability.doctor.measure.own_places import own_places
from trainability.doctor.measure.put_back import put_back, variables_put_back
from trainability.doctor.measure.questions import start
from trainability.doctor.measure.randomness import randomness_restored, set_random_state
from trainability.doctor.measure.recorded_step import RecordedStep, recorded_step
from trainability.doctor.measure.step_tape import StepTape
from trainability.doctor.measure.uses import used_by
from trainability.doctor.measure.whole_step import loss_of_body
from trainability.doctor.measure.workspace import set_training, workspace
from trainability.doctor.pair_facts import KeptTargets
from trainability.doctor.readings import OwnPlaces

_SECONDS = 20.0  # for all questions
_PASSES = 100  # that have to fit in it: the first questions, which most others build on
_TRIES = 3  # of a pass: the first may be cold, and any may wait for other programs
_SAME = 1e-3  # of the loss, from which the one computed again may differ


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A recorded step, and the model as it was then.

    Attributes:
        step: as a function.
        loss: that it came to.
        weights: parameters and buffers of the model, by name, on the host.
        first: likewise, before the first step; `weights` where they are not known.
        at_start: whether `first` are as they were initialised.
        was_training: modules that were in train mode, by name.
        random_state: of every global generator when the step began.
        is_sum: the loss is the sum of those of several backward passes.
    """

    step: RecordedStep
    loss: float
    weights: dict[str, Tensor]
    first: dict[str, Tensor]
    at_start: bool
    was_training: set[str]
    random_state: dict[str, Any]
    is_sum: bool = False


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

    with _with_weights(model, kept.weights):
        seconds = _seconds_again(model, kept, forward)
    if seconds is None or seconds * _PASSES > _SECONDS:
        return None
    with _with_weights(model, kept.first):
        found = facts_of(
            model,
            kept.step.batch,
            training_step=forward,
            optimizer=optimizer,
            batches=batches,
            at_start=kept.at_start,
            seconds=_SECONDS,
        )
    if found.readings.own is None:
        with contextlib.suppress(Exception):  # one fact less
            found = replace(found, readings=replace(found.readings, own=_own_places_now(model, kept, forward)))
    # What was computed elsewhere, as numbers of NumPy's, is the same in each of a recorded step's runs.
    found = replace(found, readings=replace(found.readings, kept_noise=None))
    return replace(found, notes=())  # of questions that do not fit the recorded sizes


def _own_places_now(model: nn.Module, kept: Kept, forward: Callable[[Any, Any], Tensor]) -> OwnPlaces | None:
    """As `own_places`, of the weights at the end: a mask that was applied once hides nothing after the first update."""
    with workspace(model, forward, kept.step.batch) as place:
        start(place.model)
        seen = ForwardPass(place.model, place.batch)
        with seen:
            place.loss_fn(place.model, place.batch)
        return own_places(place.model, place.batch, place.loss_fn, seen)


def kept_targets_of(model: nn.Module, kept: Kept, held: Sequence[Held], batches: Iterable[Any]) -> KeptTargets | None:
    """Compare what several steps were given beside their batches with the inputs, see `unrelated`; the model is left as it is.

    Args:
        model: that was trained.
        kept: one of its steps.
        held: of steps of the same optimizer, behind each other.
        batches: of the loop's loader; nothing is found where it does not shuffle.
    """
    if not held or not draws_anew(batches):
        return None
    with _with_weights(model, kept.weights), workspace(model, kept.step, kept.step.batch) as space:
        for name, module in space.model.named_modules():
            module.training = name in kept.was_training
        place = place_of_input(space.model, kept.step)
    return unrelated(held, place) if place is not None else None


def facts_of_recorded_body(
    model: nn.Module, first: Any, *, step: Callable[[Any, Any, Any], Any], optimizer: Any, batches: Iterable[Any]
) -> Facts | None:
    """Record one run of a body whose batch may be anything, as a number of the step, and ask it as a function of its examples.

    Args:
        model: one.
        first: batch of the loader.
        step: of (model, optimizer, batch): the body; it is run on copies.
        optimizer: one.
        batches: the loader.

    Returns:
        The facts; None where the body reaches its own models, or is not known as a function.
    """
    losses: list[Tensor] = []
    forward = loss_of_body(model, optimizer, step, losses)
    if forward is None:
        return None
    twin, stepper = copied(model, optimizer)
    set_training(twin, True)
    kept = _kept_of_body(twin, forward, first, losses, step)
    if kept is None:
        return None
    found = facts_of_kept(twin, kept, optimizer=stepper, batches=batches if kept.step.is_of_loader else ())
    # Of several losses, what the first does not pull together or push apart may be for another to.
    is_whole = len(losses) < 2 or kept.is_sum
    return found if found is None or is_whole else replace(found, pair_forces=None, pulls=None)


def _kept_of_body(
    model: nn.Module, forward: Callable[[Any, Any], Tensor], first: Any, losses: list[Tensor], step: Callable[..., Any]
) -> Kept | None:
    """One run, recorded to its only backward pass, or to its last and with the sum of their losses; else to its first."""

    def run(*, several: bool) -> Kept | None:
        weights, tape = weights_of(model), StepTape(model, several=several)
        with put_back(*used_by(step)), variables_put_back(step), randomness_restored():
            if not tape.begin():
                return None
            try:
                tape.take(first)
                total = forward(model, first)
            finally:
                tape.end()
            loss = total if several else losses[0]
            found = recorded_step(tape, model, loss)
            tape.forget()
        if found is None:
            return None
        return Kept(
            step=found,
            loss=float(loss.detach()),
            weights=weights,
            first=weights,
            at_start=True,
            was_training=tape.was_training,
            random_state=tape.random_state,
            is_sum=several,
        )

    alone = run(several=False)
    return (run(several=True) or alone) if len(losses) > 1 else alone


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Copies of parameters and buffers, by name; on the host, so that they need not fit the device as well."""
    named = (*model.named_parameters(), *model.named_buffers())
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in named}


def _seconds_again(model: nn.Module, kept: Kept, forward: Any) -> float | None:
    """How long the step takes at best, in the modes and with the random numbers that it had; None if it gives another loss."""
    seconds = math.inf
    for _ in range(_TRIES):
        with workspace(model, forward, kept.step.batch) as place:
            for name, module in place.model.named_modules():
                module.training = name in kept.was_training
            set_random_state(kept.random_state)
            began = time.perf_counter()
            again = float(place.loss_fn(place.model, place.batch).detach())
            seconds = min(seconds, time.perf_counter() - began)
        if not (abs(again - kept.loss) <= _SAME * max(abs(kept.loss), 1e-6) or (again != again and kept.loss != kept.loss)):
            return None
        if seconds * _PASSES <= _SECONDS:
            break
    return seconds


@contextlib.contextmanager
def _with_weights(model: nn.Module, weights: dict[str, Tensor]) -> Iterator[None]:
    """Give a model other weights and buffers while the block runs."""
    own = dict(model.named_parameters()) | dict(model.named_buffers())
    with put_back(model):
        for name, value in weights.items():
            own[name].data.copy_(value)
        yield
