"""What `check` asks of the body of a loop with several models, asked of one that was recorded, once the loop has ended."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.facts import Facts
from trainability.doctor.measure.body_facts import facts_of_body
from trainability.doctor.measure.copies import copied
from trainability.doctor.measure.randomness import randomness_restored, set_random_state
from trainability.doctor.measure.recorded_step import RecordedStep
from trainability.doctor.measure.whole_step import Parts

_SECONDS, _BODIES = 20.0, 60  # for all questions, and about as many bodies as they take
_TIMES = 8  # a batch, where the loop has no loader: random numbers are drawn anew
_SAME = 1e-3  # of a loss, from which the one computed again may differ
# What a body shows that no single loss does; all else is read off the losses, one by one, while the loop runs.
_ASKED = (
    *("opponents", "falls_with_slopes", "judged_outside", "one_class_asked", "drawn_beside"),
    *("lowered", "credited", "index_goals", "broadcast_shape", "output_shape", "target_shape"),
    *("constant_term", "outer_product", "outer_difference", "misaligned", "unread_ends", "same_after"),
)

Body = Callable[[Any, Any, Any], Any]


@dataclass(frozen=True, kw_only=True)
class KeptBody:
    """A recorded body, and copies of models and optimizers as they were before it.

    Attributes:
        step: the body; its events name models and optimizers.
        models: by name.
        optimizers: by name.
        losses: that it came to, in order.
        random_state: of every global generator when it began.
    """

    step: RecordedStep
    models: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    losses: tuple[float, ...]
    random_state: dict[str, Any]


def body_of(step: RecordedStep, losses: list[float] | None = None) -> Body:
    """The recorded body as `check` takes it: of (models, optimizers, batch), dicts by name; returns the last loss.

    Args:
        step: the body.
        losses: takes the value of each.
    """

    def body(models: Any, optimizers: Any, batch: Any) -> Tensor:
        owners, loss = {**models, **optimizers}, torch.zeros(())
        for event, found in step.follow(Parts(models), batch):
            if found is not None:
                loss = found.sum()
                if losses is not None:
                    losses.append(float(loss.detach()))
                loss.backward(retain_graph=True)
            elif event.owner is not None:
                owner = owners[event.owner]
                owner.step() if event.kind == "step" else owner.zero_grad()
        return loss.detach()

    return body


def facts_of_kept_body(kept: KeptBody, batches: Iterable[Any] = ()) -> Facts | None:
    """Ask a recorded body what its models want of each other.

    Args:
        kept: the body.
        batches: of the loop's loader, where `kept.step.batch` is one of them.

    Returns:
        The facts; None where running the body again gives other losses, or where asking would take long.
    """
    seconds = _seconds_again(kept)
    if seconds is None or seconds * _BODIES > _SECONDS:
        return None
    given = batches or list(itertools.repeat(kept.step.batch, _TIMES))
    body = body_of(kept.step)
    found = facts_of_body(kept.models, kept.step.batch, step=body, optimizer=kept.optimizers, batches=given)
    if found is None:
        return None
    # A recorded body writes to no weight between its steps, and what it draws with other libraries it draws once.
    found = replace(found, opponents=replace(found.opponents, unlimited_critic=(), fixed_noise=()))
    return Facts(**{name: getattr(found, name) for name in _ASKED})


def _seconds_again(kept: KeptBody) -> float | None:
    """How long the body takes, with the random numbers that it had; None where it gives other losses."""
    models, optimizers = copied(kept.models, kept.optimizers)
    losses: list[float] = []
    with randomness_restored(), torch.enable_grad():
        set_random_state(kept.random_state)
        began = time.perf_counter()
        body_of(kept.step, losses)(models, optimizers, kept.step.batch)
        seconds = time.perf_counter() - began
    pairs = list(zip(losses, kept.losses, strict=True))
    return seconds if all(abs(a - b) <= _SAME * max(abs(b), 1e-3) for a, b in pairs) else None
