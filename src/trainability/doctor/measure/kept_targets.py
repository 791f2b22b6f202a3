"""Targets that a loop keeps batch by batch, beside a loader that yields other batches in each pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler, SubsetRandomSampler, WeightedRandomSampler

from trainability.doctor.batches import tensors
from trainability.doctor.facts import Facts
from trainability.doctor.measure.copies import copied
from trainability.doctor.measure.filled import given_to_modules
from trainability.doctor.measure.instead import pull, returned_once
from trainability.doctor.measure.put_back import put_back, variables_put_back
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.measure.recorded_step import RecordedStep, recorded_step
from trainability.doctor.measure.relation import relation
from trainability.doctor.measure.step_tape import StepTape
from trainability.doctor.measure.uses import used_by
from trainability.doctor.measure.whole_step import loss_of_body
from trainability.doctor.measure.workspace import set_training
from trainability.doctor.pair_facts import KeptTargets

MOST_STEPS, _ENOUGH = 24, 400  # steps in a row; examples
_SECONDS = 10.0
_FEWEST_ROWS, _FEWEST_EXAMPLES = 8, 200
# Standard deviations above shuffled ones, see `relation`, and a share of what the batches' own targets come to. Of some ten
# views one may be 4 above by chance; what a teacher computes of its input, trained or not, is a function of it, and far above.
_UNRELATED, _RELATED, _BESIDE_OWN = 3.5, 8.0, 1 / 16
_MOSTLY, _HALF = 0.95, 0.5  # of the rows


@dataclass(frozen=True, kw_only=True)
class Held:
    """What a step is given that may be targets of a batch, and is not in it.

    Attributes:
        batch: its two tensors, each (examples, ...).
        rows: what may be targets, (examples, columns).
    """

    batch: tuple[Tensor, Tensor]
    rows: Tensor


def draws_anew(loader: Any) -> bool:
    """Whether a loader yields other batches in each pass, so that the number of a batch says nothing of what is in it."""
    if not isinstance(loader, DataLoader):
        return False
    sampler = getattr(loader.batch_sampler, "sampler", loader.sampler)
    return isinstance(sampler, RandomSampler | SubsetRandomSampler | WeightedRandomSampler)


def kept_targets(
    model: nn.Module, optimizer: Any, step: Callable[[Any, Any, Any], Any], batches: Iterable[Any]
) -> KeptTargets | None:
    """Run a body with several batches in a row, on copies, and compare inputs with targets that it holds beside them.

    Args:
        model: one.
        optimizer: one.
        step: of (model, optimizer, batch): the body.
        batches: of the training loader; nothing is found where it does not shuffle.

    Returns:
        The comparison, where targets have nothing to do with the inputs, and the batch's own do; else None.
    """
    losses: list[Tensor] = []
    forward = loss_of_body(model, optimizer, step, losses) if draws_anew(batches) else None
    if forward is None:
        return None
    twin = copied(model, optimizer)[0]
    set_training(twin, True)
    found: list[Held] = []
    place, began = None, time.perf_counter()
    with put_back(*used_by(step)), variables_put_back(step), randomness_restored(), generators_restored(batches):
        for batch in batches:
            recorded = _recorded(twin, forward, batch, losses)
            held = held_of(recorded) if recorded is not None else None
            if recorded is None or held is None or time.perf_counter() - began > _SECONDS:
                return None
            place = place_of_input(twin, recorded) if place is None else place
            if place is None:
                return None
            found.append(held)
            if are_enough(found):
                break
    return unrelated(found, place) if place is not None else None


def _recorded(model: nn.Module, forward: Callable[[Any, Any], Tensor], batch: Any, losses: list[Tensor]) -> RecordedStep | None:
    tape = StepTape(model)
    if not tape.begin():
        return None
    try:
        tape.take(batch)
        forward(model, batch)
    finally:
        tape.end()
    found = recorded_step(tape, model, losses[0]) if losses else None
    tape.forget()
    return found


def held_of(step: RecordedStep) -> Held | None:
    """What a step is given that may be targets of its batch; None where nothing, or several tensors, may be."""
    batch = [tensor for _, tensor in tensors(step.batch)]
    if not step.is_of_loader or len(batch) != 2 or any(t.dim() == 0 or len(t) != len(batch[0]) for t in batch):
        return None
    count = len(batch[0])
    rows = [t for t in step.given.values() if t.is_floating_point() and t.dim() == 2 and len(t) == count and t.shape[1] > 1]
    if len(rows) != 1 or count < _FEWEST_ROWS or rows[0].requires_grad:
        return None
    return Held(batch=(batch[0].cpu(), batch[1].cpu()), rows=rows[0].cpu())


def are_enough(found: Sequence[Held]) -> bool:
    """Whether these steps' examples are enough, or so many steps are."""
    return sum(len(each.rows) for each in found) >= _ENOUGH or len(found) >= MOST_STEPS


def place_of_input(model: nn.Module, step: RecordedStep) -> int | None:
    """Which of the two tensors of a batch goes into the model, where what the step is given is a target of its outputs.

    Args:
        model: as it was in that step; it runs a few times.
        step: `held_of` it is something.

    Returns:
        0 or 1; None where a higher number in what it is given does not make the loss ask for a larger output, as of a noise.
    """
    own = returned_once(model, step.batch, step)
    output = own.tensors[0] if own is not None and len(own.tensors) == 1 else None
    held = [key for key, t in step.given.items() if output is not None and t.is_floating_point() and t.shape == output.shape]
    given = given_to_modules(model, step.batch, step)
    inputs = [k for k, (_, t) in enumerate(tensors(step.batch)) if t.data_ptr() in given and t.dim() > 1]
    if own is None or len(held) != 1 or len(inputs) != 1:
        return None
    rows = step.given[held[0]]
    raised = rows.clone()
    raised[:, 0] += rows.max() - rows.min() + 1e-3  # of most rows this is then the highest
    before = pull(model, step.batch, step, own)
    after = pull(model, step.batch, step.with_given({held[0]: raised}), own)
    if before is None or after is None:
        return None
    change = (after - before)[:, 0]
    # A row whose class was certain already asks for nothing more.
    is_asked = float((change < 0).float().mean()) >= _HALF and float((change <= 0).float().mean()) >= _MOSTLY
    return inputs[0] if is_asked else None


def unrelated(found: Sequence[Held], place: int) -> KeptTargets | None:
    """Compare the inputs of several steps with the targets that were held, and with the batches' own.

    Args:
        found: of each step.
        place: of the input in a batch.

    Returns:
        The comparison; None where targets that were held are related to the inputs, or the batches' own are not, or examples
        are too few.
    """
    shapes = {(*(t.shape[1:] for t in each.batch), each.rows.shape[1:]) for each in found}
    if len(shapes) != 1 or sum(len(each.rows) for each in found) < _FEWEST_EXAMPLES:
        return None
    inputs, own = (torch.cat([each.batch[k] for each in found]) for k in (place, 1 - place))
    kept = torch.cat([each.rows for each in found])
    with_kept, with_own = relation(inputs, kept), relation(inputs, own)
    if with_kept is None or with_own is None or with_own.z < _RELATED:
        return None
    if with_kept.z >= max(_UNRELATED, min(_RELATED, _BESIDE_OWN * with_own.z)):
        return None
    return KeptTargets(num_examples=len(kept), z=with_kept.z, own_z=with_own.z, shape=tuple(found[0].rows.shape))


def with_kept_targets(facts: Facts | None, found: KeptTargets | None) -> Facts | None:
    """Add them to the facts, if there are any."""
    if found is None:
        return facts
    facts = facts or Facts()
    return replace(facts, readings=replace(facts.readings, kept=found))
