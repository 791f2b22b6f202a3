"""The learning rates that a schedule comes to in the rest of the run, read off without a step of the loop."""

import contextlib
import copy
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau

from trainability.doctor.batches import num_batches
from trainability.doctor.measure.nested import optimizers
from trainability.doctor.outlook_limits import PASS_SHARE, PASS_STEPS, SPENT_RATE, SPENT_SHARE
from trainability.doctor.rehearsed import LatePeak, RehearsedStep

_NOTHING, _ALMOST = 1e-3 * (1 + 1e-6), SPENT_RATE * (1 + 1e-6)  # of the largest rate
_MOST_STEPS = 20_000  # of a scheduler, some 10 microseconds each
_PASSES, _UNKNOWN_STEPS = 10, 2_000  # that a run is taken to have where nothing says how long it is
LATER = 3.0  # of the largest rate that was rehearsed: what a peak to come is at least


def schedule_ahead(
    schedulers: Iterable[Any],
    optimizers: Iterable[torch.optim.Optimizer],
    steps: Sequence[RehearsedStep],
    planned: int | None,
    batches: Iterable[Any],
) -> dict[str, Any]:
    """Fields of a rehearsal: what the schedule comes to at the end of the plan, or of a pass over the loader without a plan.

    Args:
        schedulers: as for `rates_ahead`.
        optimizers: likewise.
        steps: that were made.
        planned: steps of the run, where they are known.
        batches: the loader.
    """
    schedulers, optimizers, seen = tuple(schedulers), tuple(optimizers), [step.lr for step in steps]
    found: dict[str, Any] = {}
    with contextlib.suppress(Exception):  # a schedule that is too short fails, and a loader may have no length
        size = planned or num_batches(batches)
        ahead = rates_ahead(schedulers, optimizers, done=len(steps), until=size) if size else None
        if planned is not None:
            found["rate_spent"] = rate_spent(ahead, planned, seen)
        elif size is not None:
            found["rates_of_pass"] = rates_of_pass(seen, ahead, size)
        found["late_peak"] = _late_peak(schedulers, optimizers, seen, ahead or [], planned, size)
    return found


def schedule_ends(schedulers: Sequence[Any], done: int, planned: int | None) -> int | None:
    """The steps that a `OneCycleLR` has, where a longer run is planned: it fails at the next one.

    Args:
        schedulers: as for `rates_ahead`, of a loop whose body steps them.
        done: steps that it has made.
        planned: of the run.
    """
    stepped = _stepped_once_a_step(schedulers, done)
    if not isinstance(stepped, OneCycleLR) or planned is None or not stepped.total_steps < planned:
        return None
    return int(stepped.total_steps)


def _late_peak(
    schedulers: Sequence[Any],
    optimizers: Sequence[torch.optim.Optimizer],
    seen: Sequence[float | None],
    ahead: Sequence[float],
    planned: int | None,
    size: int | None,
) -> LatePeak | None:
    """The largest rate to come, where it is far above those that were seen; the scheduler has been read up to `ahead`.

    Without a plan the schedule is read to its own end, or for some passes over the loader.
    """
    done = len(seen) + len(ahead)
    stepped = _stepped_once_a_step(schedulers, done)
    rates = [rate for rate in seen if rate]
    if stepped is None or not rates:
        return None
    own_end = getattr(stepped, "total_steps", None)
    until = planned or (own_end if isinstance(own_end, int) else None) or (_PASSES * size if size else _UNKNOWN_STEPS)
    until = min(until, _MOST_STEPS)
    more = rates_ahead(schedulers, optimizers, done=done, until=until) if until > done else None
    ahead = [*ahead, *(more or ())]
    # What still rises at the end may rise to see how far a rate can go.
    if not ahead or not LATER * max(rates) <= max(ahead) < math.inf or ahead.index(max(ahead)) == len(ahead) - 1:
        return None
    step = len(seen) + 1 + ahead.index(max(ahead))
    return LatePeak(step=step, rate=max(ahead), schedule=type(stepped).__name__, length=len(seen) + len(ahead))


def held_schedule(
    scheduler: Any, optimizer: Any, batches: Iterable[Any], *, fewest: int, planned: int | None, interval: str | None
) -> dict[str, Any] | None:
    """Decide whether a scheduler that no body steps is left alone, since it is, or may be, stepped once per epoch.

    Args:
        scheduler: of a run from its first step.
        optimizer: that it sets the rates of, or several.
        batches: the loader.
        fewest: steps that are rehearsed, which may be more than a pass has.
        planned: steps of the run; None where they are not known.
        interval: "epoch"; None where nobody said.

    Returns:
        Fields of a rehearsal: of a plan `rate_spent`, where the schedule is stepped per epoch as it is said to be, else where
        it is stepped after each batch; without a plan `rates_of_pass`. None where it is to be stepped after each batch.
    """
    size = num_batches(batches)
    if interval is not None:
        spent = None
        if planned is not None and size:
            spent = rate_spent(_rates(scheduler, optimizer, -(-planned // size)), -(-planned // size))
        return {"rate_spent": ((spent[0] - 1) * size + 1, *spent[1:]) if spent is not None and size else None}
    if size is None:
        return None
    if planned is None:
        held = _over_in_a_pass(scheduler, optimizer, max(size, fewest))
        return {"rates_of_pass": held} if held is not None else None
    rates, epochs = _rates(scheduler, optimizer, planned), _rates(scheduler, optimizer, -(-planned // size))
    spent = rate_spent(rates, planned)
    if not rates or not epochs or spent is None or spent[0] > planned / 2 or rates[0] < max(rates):
        return None
    late = rate_spent(epochs, len(epochs))
    # A schedule that changes nothing in as many epochs is not meant for epochs.
    return {"rate_spent": spent} if min(epochs) < epochs[0] and (late is None or late[0] > len(epochs) / 2) else None


def _rates(scheduler: Any, optimizer: Any, until: int) -> list[float] | None:
    """The largest rate before each step of a copy of a scheduler; None where it cannot be copied or read ahead."""
    found = optimizers(optimizer)
    memo = {id(p): p for item in found for group in item.param_groups for p in group["params"]}
    with contextlib.suppress(Exception):  # what cannot be copied is stepped as it is told
        twin, *copies = copy.deepcopy((scheduler, *found), memo)
        return rates_ahead([twin], copies, done=0, until=until)
    return None


def _over_in_a_pass(scheduler: Any, optimizer: Any, size: int) -> tuple[int, float, float] | None:
    """What `rates_of_pass` returns where the rate falls from the start and is spent after so many steps; None elsewhere."""
    rates = _rates(scheduler, optimizer, size)
    told = rates_of_pass([], rates, size)
    if told is not None and rates is not None and rates[0] == max(rates) and told[2] <= SPENT_RATE:
        return told if told[1] <= min(PASS_SHARE * size, PASS_STEPS) else None
    return None


def rates_ahead(
    schedulers: Iterable[Any], optimizers: Iterable[torch.optim.Optimizer], *, done: int, until: int | None
) -> list[float] | None:
    """Step a copy's scheduler on without the loop.

    Args:
        schedulers: that the loop has; the one that is stepped once a step of the loop and its optimizer are changed.
        optimizers: of the loop.
        done: steps that it has made.
        until: the last step that is asked for.

    Returns:
        The largest rate of all groups at each step from `done` + 1 to `until`; None where the schedule goes by the loss, is not
        that of a run from its first step, or is too long.
    """
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    scheduler = _stepped_once_a_step(schedulers, done)
    if until is None or not done < until <= _MOST_STEPS or scheduler is None or not groups:
        return None
    rates = []
    for _ in range(done, until):
        rates.append(max(float(group["lr"]) for group in groups))
        scheduler.step()
    return rates


def _stepped_once_a_step(schedulers: Iterable[Any], done: int) -> Any:
    """The only scheduler that does not go by the loss and has been stepped as often as the loop; None where there is none."""
    own = [item for item in schedulers if isinstance(item, LRScheduler) and not isinstance(item, ReduceLROnPlateau)]
    stepped = {id(item): item for item in own if item.last_epoch == done}
    return next(iter(stepped.values())) if len(stepped) == 1 else None


def rate_spent(
    rates: Sequence[float] | None, planned: int | None, seen: Sequence[float | None] = ()
) -> tuple[int, float, float] | None:
    """Ask from where on the rate is next to nothing.

    Args:
        rates: of the run's last steps, from `rates_ahead`.
        planned: steps of the run.
        seen: rates of the steps before these; the largest may be among them.

    Returns:
        The first step from which all rates to the end are a thousandth of the largest or less, the last rate, and the largest.
        Where the last is larger, a hundredth, if all rates together are a twentieth of as many at the largest; else None.
    """
    if not rates or planned is None:
        return None
    known = [*(rate for rate in seen if rate is not None), *rates]
    most = max(known)
    if not 0 < most < math.inf:
        return None
    is_brief = len(known) == planned and sum(known) <= SPENT_SHARE * planned * most
    limit = _ALMOST if known[-1] > _NOTHING * most and is_brief else _NOTHING
    small = list(itertools.takewhile(lambda rate: rate <= limit * most, reversed(known)))
    if not small:
        return None
    return planned - len(small) + 1, rates[-1], most


def rates_of_pass(
    seen: Sequence[float | None], ahead: Sequence[float] | None, size: int | None
) -> tuple[int, float, float] | None:
    """Add up the rates of one pass over the loader.

    Args:
        seen: at the steps that were made.
        ahead: at those that follow, from `rates_ahead`; None where that is not known.
        size: steps of a pass.

    Returns:
        The steps of the pass, the sum of all these rates over the largest, and the last one over the largest; None where the
        rates to its end are not known.
    """
    rates = [rate for rate in (*seen, *(ahead or ())) if rate is not None]
    if size is None or len(rates) < max(size, len(seen)) or not 0 < max(rates) < math.inf:
        return None
    return size, sum(rates) / max(rates), rates[-1] / max(rates)
