"""What a loop comes to without a weight decay that leaves little of a weight within the first hundreds of steps."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Sized
from dataclasses import replace
from itertools import chain, count, islice
from typing import Any

import torch

from trainability.doctor.batches import batch_size
from trainability.doctor.measure.nested import modules, optimizers
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.measure.rehearsal import rehearse
from trainability.doctor.rehearsed import DecayTried, Rehearsal

_STRONG = 0.01  # of a weight that a step takes away; usual ones take 1e-6 to 1e-3
_HALF = 0.5  # of the trained numbers, that it takes it from
_MOST_TIMES, _FEWEST_TIMES = 10.0, 2.0  # in which a weight without a gradient falls to 1 / e
_MOST_STEPS, _REFERENCE_EXAMPLES = 400, 128


def try_without_decay(
    rehearsal: Rehearsal, model: Any, optimizer: Any, batches: Iterable[Any], held_out: Any, *, seconds: float, **loop: Any
) -> Rehearsal | None:
    """Rehearse a loop whose weight decay is very strong as it is, and without that, and look at examples it does not train on.

    Args:
        rehearsal: of this loop.
        model: as for `rehearse`.
        optimizer: likewise.
        batches: likewise; what can be read once only is left alone.
        held_out: batches of the same kind; None for the first ones of `batches`, where a pass over these is long enough.
        seconds: for both together, at most about as long.
        loop: what else `rehearse` takes.

    Returns:
        The rehearsal with what both came to; None where no decay is that strong, or no time for it. Everything is as before,
        bit for bit.
    """
    share = _share_per_step(model, optimizer)
    if share < _STRONG or isinstance(batches, Iterator) or isinstance(held_out, Iterator) or not rehearsal.steps:
        return None
    steps = min(math.ceil(_MOST_TIMES / share), _MOST_STEPS, loop.get("planned_steps") or _MOST_STEPS)
    steps = min(steps, int(seconds / 2 / (rehearsal.seconds / len(rehearsal.steps))))
    if held_out is None:
        first = next(iter(batches), None)
        length = len(batches) if isinstance(batches, Sized) else 0
        steps = min(steps, length - math.ceil(_REFERENCE_EXAMPLES / max(batch_size(first) or 1, 1)))
    if steps * share < _FEWEST_TIMES:
        return None
    looked = batches if held_out is None else _Behind(held_out, batches)
    losses = []
    try:
        for turned_off in (False, True):
            own = _without_decay(optimizer) if turned_off else contextlib.nullcontext()
            with generators_restored(batches), generators_restored(held_out), randomness_restored(), own:
                found = rehearse(model, optimizer, looked, seconds=seconds / 2, max_steps=steps, **loop)
            if found.ended_by == "not finite" or len(found.steps) < _FEWEST_TIMES / share or not found.reference:
                return None
            losses.append(found.reference[-1].loss)
            constant = found.task.chance if found.task.chance is not None else found.constant_loss
    except Exception:  # batches of validation may be of another kind
        return None
    tried = DecayTried(share=share, steps=len(found.steps), loss=losses[0], without=losses[1], constant_loss=constant)
    return replace(rehearsal, decay_tried=tried)


class _Behind:
    """Held-out batches, as many as a reference is made of, and training batches without end behind them."""

    def __init__(self, held_out: Iterable[Any], batches: Iterable[Any]) -> None:
        self.held_out, self.batches = held_out, batches

    def __iter__(self) -> Iterator[Any]:
        size = batch_size(next(iter(self.held_out), None)) or _REFERENCE_EXAMPLES
        first = islice(self.held_out, math.ceil(_REFERENCE_EXAMPLES / size))
        return chain(first, chain.from_iterable(iter(self.batches) for _ in count()))


def _share_per_step(model: Any, optimizer: Any) -> float:
    """The share of a weight that decay takes away at each step; 0 unless it is so for half of what is trained."""
    groups = [(_share(each, group), group["params"]) for each in optimizers(optimizer) for group in each.param_groups]
    trained = sum(p.numel() for part in modules(model) for p in part.parameters() if p.requires_grad)
    decayed = [(share, sum(p.numel() for p in held)) for share, held in groups if share >= _STRONG]
    if not decayed or sum(numbers for _, numbers in decayed) < _HALF * trained:
        return 0.0
    return max(share for share, _ in decayed)


def _share(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> float:
    """Of decay that is not divided by the size of the gradient."""
    rate, decay = float(group.get("lr") or 0.0), float(group.get("weight_decay") or 0.0)
    if type(optimizer) is torch.optim.SGD:
        return rate * decay / (1 - min(float(group.get("momentum") or 0.0), 0.999))
    return rate * decay if type(optimizer) is torch.optim.AdamW or group.get("decoupled_weight_decay") else 0.0


@contextlib.contextmanager
def _without_decay(optimizer: Any) -> Iterator[None]:
    kept = [(group, group.get("weight_decay")) for each in optimizers(optimizer) for group in each.param_groups]
    try:
        for group, decay in kept:
            if decay:
                group["weight_decay"] = 0.0
        yield
    finally:
        for group, decay in kept:
            if decay:
                group["weight_decay"] = decay
