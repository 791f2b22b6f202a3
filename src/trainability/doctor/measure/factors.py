"""The factor that a `LambdaLR` multiplies the base rate with, read ahead from its functions without a step."""

from __future__ import annotations

import contextlib
import copy
import gc
import io
import math
import types
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from trainability.doctor.measure.put_back import variables_put_back
from trainability.doctor.measure.randomness import randomness_restored

_ALL_OF, _LAST, _GROWTH = 64, 1_000_000, 1.05  # the first numbers, and then a geometric grid to the last
_schedulers: WeakKeyDictionary[torch.optim.Optimizer, ref[LRScheduler] | None] = WeakKeyDictionary()
_known: WeakKeyDictionary[LRScheduler, float | None] = WeakKeyDictionary()


def largest_factor(optimizer: torch.optim.Optimizer) -> float | None:
    """Read what the functions of the optimizer's `LambdaLR` give, from 0 to 1,000,000.

    Args:
        optimizer: whose rates it sets.

    Returns:
        The largest factor of any group at any step or epoch; None where there is no such scheduler, or another beside it;
        where the factor never changes, is the largest at the end, so that a warm-up may go on, or cannot be read.
    """
    scheduler = scheduler_of(optimizer)
    if not isinstance(scheduler, LambdaLR) or type(scheduler).get_lr is not LambdaLR.get_lr:
        return None
    if scheduler not in _known:
        _known[scheduler] = None
        with contextlib.suppress(Exception):  # what a program computes there is its own
            _known[scheduler] = _largest(scheduler.lr_lambdas)
    return _known[scheduler]


def scheduler_of(optimizer: torch.optim.Optimizer) -> LRScheduler | None:
    """The only scheduler of an optimizer, looked for once: the garbage collector knows some 100,000 objects.

    None without one, and of several.
    """
    if not any("initial_lr" in group for group in optimizer.param_groups):
        return None
    if optimizer not in _schedulers:
        found = list({id(item): item for item in _schedulers_of(optimizer)}.values())
        _schedulers[optimizer] = ref(found[0]) if len(found) == 1 else None
    known = _schedulers[optimizer]
    return known() if known is not None else None


def _schedulers_of(optimizer: torch.optim.Optimizer) -> Iterator[LRScheduler]:
    for holder in gc.get_referrers(optimizer):
        # An object's attributes are a dict of their own, once something has asked for them as one.
        for item in (holder, *(gc.get_referrers(holder) if type(holder) is dict and "base_lrs" in holder else ())):
            if issubclass(type(item), LRScheduler) and item.optimizer is optimizer:
                yield item


def _largest(functions: list[Callable[[int], Any]]) -> float | None:
    numbers, each = list(range(_ALL_OF)), float(_ALL_OF)
    while each < _LAST:
        numbers.append(round(each))
        each *= _GROWTH
    values: list[float] = []
    with variables_put_back(*functions), randomness_restored(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        # An object may count its calls; a function is the same when it is copied.
        twins = [f if isinstance(f, types.FunctionType) else copy.deepcopy(f) for f in functions]
        for number in (*numbers, _LAST):
            try:
                values.append(max(float(function(number)) for function in twins))
            except Exception:  # beyond the end that it was made for
                break
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return None
    most = max(values)
    if min(values) == most or values[-1] == most > max(values[:-1]):
        return None
    return most
