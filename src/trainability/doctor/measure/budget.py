"""The time that a rehearsal has, and what its steps and looks cost."""

from __future__ import annotations

import contextlib
import math
import time
from typing import Any

from trainability.doctor.batches import batch_size, first_examples
from trainability.doctor.measure.loop import Loop
from trainability.doctor.measure.randomness import randomness_restored

# Fewer steps than this say nothing about where the loss goes.
FEWEST_STEPS = 3
_TIMED_EXAMPLES = (2, 2, 16)  # the first pass also pays for what is set up once
_CRITICAL_FORWARDS = 8  # of one critical step: six of its search, before and after
_STEP_FORWARDS = 3  # a forward pass and the way back, which is twice that


class Budget:
    """What the next look or step will cost, from what the last ones did, against the time that is left."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.reference_seconds = self.step_seconds = 0.0

    @property
    def critical_seconds(self) -> float:
        return _CRITICAL_FORWARDS / _STEP_FORWARDS * self.step_seconds

    def left(self) -> float:
        return self.deadline - time.monotonic()

    def allows(self, *, looks: int, criticals: int) -> bool:
        """Whether there is time for these, one more step and what ends a rehearsal: a critical step and a look."""
        ending = (1 + criticals) * self.critical_seconds + (1 + looks) * self.reference_seconds
        return self.left() > ending + 2 * self.step_seconds


def budget_of(loop: Loop, reference: Any, size: int | None, deadline: float) -> Budget:
    """Times a few examples, so that the first step of a slow program is known to be slow before it is taken."""
    budget, fastest = Budget(deadline), math.inf
    for number, count in enumerate(_TIMED_EXAMPLES):
        few = first_examples(reference, count)
        if few is reference:
            break
        began = time.monotonic()
        with randomness_restored(), contextlib.suppress(Exception):  # a loss that needs more examples is timed by its steps
            loop.output = None
            loop.loss(few, afresh=True)
        # The fastest counts: what else runs on the machine only slows a pass down.
        each = fastest = min(fastest, (time.monotonic() - began) / count / (_STEP_FORWARDS if loop.forward_only is None else 1))
        budget.step_seconds = each * (size or count) * _STEP_FORWARDS
        budget.reference_seconds = each * (batch_size(reference) or 0)
        is_slow = number > 0 and each * _TIMED_EXAMPLES[-1] > 0.1 * budget.left()
        if fits(budget, FEWEST_STEPS) or is_slow or each * count > 0.2 * budget.left():
            break
    return budget


def fits(budget: Budget, steps: int) -> bool:
    """Whether there is time for as many steps, one critical step and two looks."""
    return steps * budget.step_seconds + budget.critical_seconds + 2 * budget.reference_seconds <= budget.left()
