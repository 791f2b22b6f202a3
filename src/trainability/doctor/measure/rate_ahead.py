"""The learning rate that a schedule comes to in the rest of the run, read off without a step of the loop."""

import itertools
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

_NOTHING = 1e-3 * (1 + 1e-6)  # of the largest rate
_MOST_STEPS = 20_000  # of a scheduler, some 10 microseconds each


def rate_spent(
    scheduler: Any, optimizers: Iterable[torch.optim.Optimizer], *, done: int, planned: int | None
) -> tuple[int, float, float] | None:
    """Step a copy's scheduler to the end of the run, and ask from where on the rate is next to nothing.

    Args:
        scheduler: stepped once a step of the loop; it and its optimizer are changed.
        optimizers: of the loop.
        done: steps that it has made.
        planned: steps of the run.

    Returns:
        The first step from which all rates to the end are a thousandth of the largest or less, the last rate, and the largest;
        None where the last is larger, or the schedule goes by the loss, is not that of a run from its first step, or is too
        long.
    """
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    if not isinstance(scheduler, LRScheduler) or isinstance(scheduler, ReduceLROnPlateau) or not groups:
        return None
    if planned is None or scheduler.last_epoch != done or not done < planned <= _MOST_STEPS:
        return None
    rates = []
    for _ in range(done, planned):
        rates.append(max(float(group["lr"]) for group in groups))
        scheduler.step()
    most = max(rates)
    small = list(itertools.takewhile(lambda rate: rate <= _NOTHING * most, reversed(rates)))
    if not small or not 0 < most < math.inf:
        return None
    return planned - len(small) + 1, rates[-1], most
