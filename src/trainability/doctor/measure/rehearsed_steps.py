"""The steps of a rehearsal, and what is looked at between them."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from trainability.doctor.batches import batch_size, to_device
from trainability.doctor.measure.averages import Averages
from trainability.doctor.measure.batch_statistics import FEWEST_BATCHES
from trainability.doctor.measure.budget import Budget
from trainability.doctor.measure.clips import Clips
from trainability.doctor.measure.critical import along_update
from trainability.doctor.measure.exits import ProgramExits, loss_or_exit
from trainability.doctor.measure.loop import Loop
from trainability.doctor.measure.overwritten import Writes
from trainability.doctor.measure.what_moved import is_finite, with_rate
from trainability.doctor.rehearsed import CriticalStep, Observation, RehearsedStep, Task

CRITICAL_STEPS = (1, 5, 15, 30, 60, 100)
REFERENCE_STEPS = (*range(0, 31, 5), *range(40, 101, 10), *range(120, 301, 20))
_RECENT_EXAMPLES = 32  # of the last batches, by which batch norm's two statistics are compared


@dataclass(kw_only=True)
class Seen:
    """What the steps showed so far.

    Attributes:
        observations: of the reference, the first before any step.
        task: as the reference shows it.
        steps: that were made.
        critical: multiples of the update that were tried, by the number of the step.
        with_rate: ids of parameters that had a learning rate other than 0 at some step.
        recent: the last batches.
    """

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


def take_steps(
    loop: Loop,
    watches: tuple[Writes, Clips, Averages],
    batches: Iterator[Any],
    *,
    max_steps: int,
    budget: Budget,
    seen: Seen,
    observe: Callable[[int], Observation],
    enough: Callable[..., bool],
) -> str:
    """Take the steps, and add to `seen` what they show.

    Args:
        loop: whose body is run.
        watches: of what writes to weights, of clipping, and of averages of the weights.
        batches: one for each step.
        max_steps: after which the rehearsal ends.
        budget: of time.
        seen: what was seen before the first step.
        observe: looks at the reference after a step of this number.
        enough: whether what was seen tells what more steps would.

    Returns:
        What ended them: "steps", "time", "data", "enough", or "not finite".
    """
    writes, clips, averages = watches
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
        averages.begin(number)
        began = time.monotonic()
        try:
            loss = loop.run(batch)
        except Exception as error:
            # What raises is what NaN does to the loop's own checks, of the weights or of the loss before it steps.
            if seen.steps and (not is_finite(loop) or (isinstance(error, ProgramExits) and error.nonfinite)):
                seen.steps.append(RehearsedStep(step=number, loss=math.nan, lr=loop.rate))
                return "not finite"
            raise
        clips.end_body()
        budget.step_seconds = time.monotonic() - began
        averages.end()
        seen.with_rate |= with_rate(loop)
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
                if is_finite(loop):
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
