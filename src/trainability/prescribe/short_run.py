"""Make a short run of a copy of a program, at another gain budget and learning rate, and return its outcome."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from trainability import initialization
from trainability.doctor.batches import first_tensor, to_device
from trainability.doctor.measure.copies import copied
from trainability.doctor.measure.randomness import generators_restored, randomness_restored, seed_torch
from trainability.doctor.other_rates import COLLAPSED
from trainability.doctor.reading import LEARNED, WINDOW_STEPS
from trainability.doctor.setup import Setup

End = Literal["trained", "exploded", "falling", "at chance"]
# A run ends when its loss is below this fraction of chance, and so many steps after it left chance: the loss may rise again.
_CLEARLY, _STEPS_AFTER = 0.35, 60
_ROSE, _FAR = 1.1, 1.5  # thresholds of the last losses over the first one or chance, and of any loss over chance


@dataclass(frozen=True, kw_only=True)
class ShortRun:
    """How a short run ended.

    Attributes:
        end: "trained": the mean of the last 20 losses is below 0.9 of chance. "exploded": the loss is not finite, rose, had
            been below chance, or was far above chance and is now at chance with outputs that do not depend on the input.
            "falling": the loss began far above chance and the net is not dead. "at chance": the loss is where it began.
        steps: number of steps taken.
        left_chance_step: first step at which the mean of the last 20 losses was below 0.9 of chance; `None` if never.
        first_loss: of the first batch.
        last_loss: mean of the last 20; infinite if one was not finite.
    """

    end: End
    steps: int
    left_chance_step: int | None
    first_loss: float
    last_loss: float


def scale_budget(model: nn.Module, decades: float) -> None:
    """Multiply the weights of all layers by one factor, so that the gain budget of a plain net rises by `decades`.

    Args:
        model: its convolution and linear weights are changed in place, its biases are not.
        decades: change of the signal's mean square, in powers of ten.
    """
    layers = initialization.weight_layers(model)
    factor = 10 ** (decades / (2 * len(layers)))
    with torch.no_grad():
        for _, module in layers:
            module.get_parameter("weight").mul_(factor)


def short_run(setup: Setup, *, decades: float, lr: float, steps: int, chance: float) -> ShortRun:
    """Train a copy for some steps.

    Args:
        setup: one model with one optimizer, and `loss_fn` or `training_step`. It is not changed.
        decades: by which the gain budget is raised.
        lr: learning rate of all groups.
        steps: at most; a run that is not finite or has clearly trained ends earlier.
        chance: loss of the best constant answer.
    """
    with randomness_restored(), generators_restored(setup.train_loader):
        seed_torch(0)
        return _run(setup, decades, lr, steps, chance)


def _run(setup: Setup, decades: float, lr: float, steps: int, chance: float) -> ShortRun:
    model, optimizer = copied(setup.model, setup.single_optimizer)
    scale_budget(model, decades)
    for group in optimizer.param_groups:
        group["lr"] = lr
    model.train()
    losses: list[float] = []
    left, is_finite, batch = None, True, None
    for batch in itertools.islice(_batches(setup, next(model.parameters()).device), steps):
        optimizer.zero_grad()
        loss = loss_of(setup, model, batch)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), math.inf if setup.clip is None else setup.clip)
        losses.append(loss.item())
        is_finite = math.isfinite(losses[-1]) and math.isfinite(norm.item())
        if not is_finite:
            break
        optimizer.step()
        mean = statistics.fmean(losses[-WINDOW_STEPS:])
        if left is None and len(losses) >= WINDOW_STEPS and mean < LEARNED * chance:
            left = len(losses)
        if left is not None and len(losses) >= left + _STEPS_AFTER and mean < _CLEARLY * chance:
            break
    last = statistics.fmean(losses[-WINDOW_STEPS:]) if is_finite else math.inf
    end: End = "at chance"
    if last < LEARNED * chance:
        end = "trained"
    elif not is_finite or left is not None or last > _ROSE * max(losses[0], chance):
        end = "exploded"
    elif max(losses) > _FAR * chance:
        end = "exploded" if _is_constant(model, batch) else "falling"
    return ShortRun(end=end, steps=len(losses), left_chance_step=left, first_loss=losses[0], last_loss=last)


@torch.no_grad()
def _is_constant(model: nn.Module, batch: Any) -> bool:
    """Whether the outputs do not depend on the input."""
    output = first_tensor(model(batch[0]))
    if output is None:
        return False
    wide = output.detach().double()
    return bool(wide.std(dim=0, correction=0).square().mean().sqrt() <= COLLAPSED * wide.square().mean().sqrt())


def _batches(setup: Setup, device: torch.device) -> Iterator[Any]:
    """Yield the loader's batches, starting again after the last one."""
    while True:
        for batch in setup.train_loader:
            yield to_device(batch, device)


def loss_of(setup: Setup, model: nn.Module, batch: Any) -> Tensor:
    """Return the loss of a model on a batch, by the function that the setup has (`loss_fn` or `training_step`)."""
    if setup.training_step is not None:
        return setup.training_step(model, batch)
    assert setup.loss is not None
    return setup.loss(model(batch[0]), batch[-1])
