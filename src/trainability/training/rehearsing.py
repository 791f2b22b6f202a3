"""Rehearse the first steps of a run on a copy, with the loop's own parts, before the run takes them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from trainability.config import RunConfig
from trainability.data.loader import MicroBatch, shares
from trainability.doctor.measure.put_back import put_back
from trainability.doctor.measure.rehearsal import rehearse
from trainability.doctor.measure.uses import used_by
from trainability.doctor.outlook import is_enough
from trainability.doctor.rehearsed import Rehearsal
from trainability.training.engine import Engine
from trainability.training.forward import forward
from trainability.training.schedule import Plateau, learning_rate

if TYPE_CHECKING:
    from trainability.training.parts import TrainingParts

# A short run is rehearsed for at most this fraction of it, a long run for no more steps than are informative.
_LARGEST_SHARE, MOST_STEPS = 0.1, 100
_FEWEST_STEPS = 10
# If the run follows and shows the rest: enough to distinguish an optimizer that never steps from one that accumulates.
STEPS_BEFORE_A_RUN = 16
_REFERENCE_EXAMPLES = 128


@dataclass(frozen=True, kw_only=True)
class Step:
    """All examples of one step in this process.

    Attributes:
        images: (batch, 3, crop, crop) float32.
        labels: (batch,) int64.
        weights: (batch,) float32, 0 for fillers.
        keys: (batch,) int32, of the dropout.
        number: of the step, counted from 0 over the run.
        divisor: by which the sum of its losses is divided; None for images that are only looked at.
    """

    images: Tensor
    labels: Tensor
    weights: Tensor
    keys: Tensor
    number: int
    divisor: int | None


def rehearse_run(
    parts: TrainingParts,
    config: RunConfig,
    engine: Engine,
    *,
    planned_steps: int,
    seconds: float,
    max_steps: int = MOST_STEPS,
    plateau_steps: float | None = None,
) -> Rehearsal:
    """Take the first steps of a run on a copy: its schedule, clipping, precision, accumulation, faults and random draws.

    Args:
        parts: of `assemble`, with the starting weights.
        config: complete.
        engine: of one process.
        planned_steps: updates of the whole run.
        seconds: approximate upper limit of the time.
        max_steps: most steps; also at most a tenth of the planned steps.
        plateau_steps: predicted steps at chance level, if there is a prediction.

    Returns:
        The rehearsal. Its losses are those that the run will log. Parts and random state are bitwise unchanged.
    """
    made: dict[int, tuple[Any, Any]] = {}

    def loss(model: nn.Module, batch: Step) -> Tensor:
        model.train()
        losses, _ = forward(model, model, _micro(batch, 0, len(batch.labels), is_last=True), engine)
        return losses.sum() / batch.weights.sum()

    def step(model: nn.Module, optimizer: torch.optim.SGD, batch: Step) -> float:
        model.train()
        if id(optimizer) not in made:
            made[id(optimizer)] = parts.step(optimizer, config.optim.clip, engine.device), parts.tally(engine, 1)
        step_once, tally = made[id(optimizer)]
        assert batch.divisor is not None
        per_epoch = planned_steps // config.optim.epochs  # a sample of the images has fewer steps per epoch
        lr = learning_rate(config.optim, step=batch.number, steps_per_epoch=per_epoch, plateau=Plateau())
        size = config.optim.micro_batch_size
        divided = shares(0, len(batch.labels), micro_batch_size=size, rank=0, world_size=1)
        for number, share in enumerate(divided, start=1):
            micro = _micro(batch, share.start, share.stop, is_last=number == len(divided))
            losses, logits = forward(model, model, micro, engine)
            (losses.sum() * (engine.world_size / batch.divisor)).backward()
            tally.add(losses, logits, micro.labels, micro.weights)
        norm = step_once(lr, tally.loss_sum)
        tally.close_step(norm, step_once.bad)
        return tally.read()[-1].loss_sum / batch.divisor

    most = max(_FEWEST_STEPS, min(max_steps, int(_LARGEST_SHARE * planned_steps)))
    with put_back(*used_by(parts.step)):
        return rehearse(
            parts.model,
            parts.optimizer,
            _steps(parts, config),
            training_step=loss,
            step=step,
            planned_steps=planned_steps,
            max_steps=most,
            seconds=seconds,
            is_enough=functools.partial(is_enough, seconds=seconds, plateau_steps=plateau_steps),
        )


def _steps(parts: TrainingParts, config: RunConfig) -> Iterator[Step]:
    """Yield first some images to look at, as many as one forward pass takes; then the steps of the run, from the first."""
    loader = parts.loader
    at_once = min(config.optim.micro_batch_size or _REFERENCE_EXAMPLES, _REFERENCE_EXAMPLES)
    looked, count = [], 0
    for micro in itertools.chain.from_iterable(loader.steps(0)):
        looked.append(_micro(micro, 0, at_once - count, is_last=True))
        count += len(looked[-1].labels)
        if count == at_once:
            break
    yield _joined(looked, number=0, divisor=None)
    for epoch in itertools.count():
        for in_epoch, micros in enumerate(loader.steps(epoch)):
            number = epoch * loader.steps_per_epoch + in_epoch
            yield _joined(list(micros), number=number, divisor=loader.num_examples(in_epoch))


def _joined(micros: list[MicroBatch], *, number: int, divisor: int | None) -> Step:
    return Step(
        images=torch.cat([micro.images for micro in micros]),
        labels=torch.cat([micro.labels for micro in micros]),
        weights=torch.cat([micro.weights for micro in micros]),
        keys=torch.cat([micro.keys for micro in micros]),
        number=number,
        divisor=divisor,
    )


def _micro(batch: Step | MicroBatch, start: int, stop: int, *, is_last: bool) -> MicroBatch:
    return MicroBatch(
        images=batch.images[start:stop],
        labels=batch.labels[start:stop],
        weights=batch.weights[start:stop],
        keys=batch.keys[start:stop],
        is_last=is_last,
    )
