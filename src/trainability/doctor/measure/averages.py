"""Averages of the weights that the loop itself moves: by which share of the way to the trained weights at each step."""

from __future__ import annotations

import contextlib
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import num_batches
from trainability.doctor.measure.left_behind import LeftBehind
from trainability.doctor.measure.loop import Loop
from trainability.doctor.measure.randomness import randomness_restored, set_random_state
from trainability.doctor.measure.statistics import has_values, local
from trainability.doctor.measure.twin_weights import TwinWeights, twin_weights
from trainability.doctor.rehearsed import SlowAverage

_MOST_TENSORS, _MOST_NUMBERS = 32, 2048  # that are compared, of each
_FIRST = 2  # step: the first one of an average may copy the weights
_FEWEST, _MOST = 8, 40  # comparisons
_LARGEST = 0.005  # share of the way: above, a thousand steps leave a hundredth of the start
_EVEN, _DRIFT = 0.1, 0.03  # of the usual share: between steps, and between the earlier and the later ones
_FARTHER = 0.1  # of the way from the start to the trained weights
_PASSES = 3  # that ask whether the loss depends on an average
_STRAIGHT, _ROUNDING = 0.1, 2.0  # of the way that was gone, beside it; times the spacing of numbers of that size


@dataclass(eq=False)
class _Follower:
    """What may be an average, and the share of the way to its twin that it went at each step.

    Attributes:
        pair: of the two.
        rates: towards the weights before the step's body, and behind it; None of another way.
        before: numbers of both before the body.
        start: of the average, before the first body.
        calls: bodies in which its module ran.
        handles: of the hooks that tell so.
    """

    pair: TwinWeights
    start: Tensor
    rates: list[tuple[float | None, float | None]] = field(default_factory=list)
    before: tuple[Tensor, Tensor] | None = None
    calls: set[int] = field(default_factory=set)
    handles: list[Any] = field(default_factory=list)

    def numbers(self) -> tuple[Tensor, Tensor]:
        return _numbers(self.pair.averaged()), _numbers(self.pair.trained)

    @property
    def is_called(self) -> bool:
        return 2 * len(self.calls) >= len(self.rates)

    def read(self) -> bool:
        """Take the numbers before a step; true."""
        self.before = self.numbers()
        return True

    def compare(self) -> bool:
        """Take the step that was made; returns whether it may still be an average."""
        now, before, spacing = self.numbers(), self.before, _spacing(self.pair)
        self.before = None
        if before is None or before[0].shape != now[0].shape:
            return False
        change = now[0] - before[0]
        unsure = _ROUNDING * spacing * float(before[0].norm())
        self.rates.append((_share(before[1] - before[0], change, unsure), _share(now[1] - before[0], change, unsure)))
        return any(rate is not None for rate in self.rates[-1])

    def rate(self) -> float | None:
        """The share that is the same at all steps; None where there is none."""
        for rates in zip(*self.rates, strict=True) if len(self.rates) >= _FEWEST else ():
            found = [rate for rate in rates if rate is not None]
            usual = statistics.median(found) if len(found) == len(rates) else 0.0
            if usual and all(abs(rate - usual) <= _EVEN * usual for rate in found):
                third = len(found) // 3
                if abs(statistics.median(found[-third:]) - statistics.median(found[:third])) <= _DRIFT * usual:
                    return usual
        return None


def _numbers(tensors: Sequence[Tensor]) -> Tensor:
    some = tensors[:: -(-len(tensors) // _MOST_TENSORS)]
    return torch.cat([local(t).reshape(-1)[:_MOST_NUMBERS].double() for t in some])


def _share(way: Tensor, change: Tensor, unsure: float) -> float | None:
    """The share of a way that was gone; None of more than an average goes, and where it went elsewhere, or did not go."""
    length, size = float(way.square().sum()), float(change.norm())
    if not length or not size or not math.isfinite(length):
        return None
    share = float(way @ change) / length
    beside = float((change - share * way).norm())
    return share if 0 < share <= _LARGEST and beside <= _STRAIGHT * size + unsure else None


class Averages:
    """Follows what may be averages over some steps.

    Args:
        pairs: of averages and trained weights.
        watching: whether what runs now is the loop's own.
        batches: of a pass over the loader, where it has a length.

    Attributes:
        pairs: with the numbers at which the average began.
    """

    def __init__(self, pairs: Sequence[TwinWeights], watching: Callable[[], bool], batches: int | None = None) -> None:
        self.batches = batches
        self._watching = watching
        with torch.no_grad():
            self._followers = [_Follower(pair, _numbers(pair.averaged())) for pair in pairs]
        self.pairs = [(each.pair, each.start) for each in self._followers]
        self._inside, self._count = False, 0
        for follower in self._followers:
            leaves = (
                [m for m in follower.pair.part.modules() if not any(m.children())] if follower.pair.part is not None else []
            )
            follower.handles = [m.register_forward_pre_hook(LeftBehind(self._on_call(follower))) for m in leaves]

    def _on_call(self, follower: _Follower) -> Callable[..., None]:
        def seen(module: nn.Module, args: Any) -> None:
            if self._inside and self._watching():
                follower.calls.add(self._count)

        return seen

    def begin(self, number: int) -> None:
        """Call it before the body of each step."""
        self._inside = bool(self._followers)
        if self._inside and number >= _FIRST and self._count < _MOST:
            self._with_each(_Follower.read)

    def _with_each(self, action: Callable[[_Follower], bool]) -> None:
        """Keep those that an action keeps."""
        for follower in list(self._followers):
            goes_on = False
            with contextlib.suppress(Exception), torch.no_grad():  # weights that the body takes away, or gives another form
                goes_on = action(follower)
            if not goes_on:
                self._drop(follower)

    def end(self) -> None:
        """Call it behind the body."""
        self._inside = False
        if not self._followers or self._followers[0].before is None or self._count >= _MOST:
            return
        self._count += 1
        self._with_each(_Follower.compare)

    def _drop(self, follower: _Follower) -> None:
        self._followers.remove(follower)
        for handle in follower.handles:
            handle.remove()

    def close(self) -> None:
        """Takes the hooks away; safe to call again."""
        for follower in list(self._followers):
            self._drop(follower)

    def found(self) -> list[tuple[TwinWeights, float, bool]]:
        """Averages, the share of the way that each goes, and whether its module runs in bodies; the slowest first."""
        rated = [(each.pair, rate, each.is_called) for each in self._followers if (rate := each.rate()) is not None]
        return sorted(rated, key=lambda item: item[1])

    @staticmethod
    def has_moved(pair: TwinWeights, start: Tensor) -> bool:
        """Whether a pair's average, or what may be one, is not where it began."""
        with torch.no_grad():
            return not torch.equal(_numbers(pair.averaged()), start)

    def of_run(self, steps: int) -> SlowAverage | None:
        """The slowest average of a run that has ended; one that no body runs goes before one that some do.

        Args:
            steps: that were made. What is farther from its start than it comes by its share was moved otherwise, too.
        """
        found = []
        for each in self._followers:
            rate = each.rate()
            if rate is None:
                continue
            now, trained = each.numbers()
            way = trained - each.start
            gone = float(way @ (now - each.start)) / max(float(way.square().sum()), 1e-30)
            if gone <= 1 - (1 - rate) ** steps + _FARTHER:
                pair = each.pair
                found.append(SlowAverage(name=pair.name, twin=pair.twin, rate=rate, is_used=each.is_called))
        return min(found, key=lambda each: (each.is_used, each.rate), default=None)


def _spacing(pair: TwinWeights) -> float:
    return max(torch.finfo(t.dtype).eps for t in pair.averaged())


def averages_of(loop: Loop, batches: Any) -> Averages:
    """Follow what may be an average in a loop, before its first step.

    Args:
        loop: at its own rates.
        batches: the loader.
    """
    functions = [each for each in (loop.step, loop.forward_only) if each is not None]
    if loop.scale == 1.0 and loop.schedule_steps == 1:
        with contextlib.suppress(Exception):  # an attribute that computes, weights of another kind
            pairs = twin_weights(loop.named_models, loop.held, functions)
            pairs = [pair for pair in pairs if all(map(has_values, (*pair.averaged(), *pair.trained)))]
            return Averages(pairs, lambda: loop.watching, num_batches(batches))
    return Averages((), lambda: loop.watching)


def slow_average(
    averages: Averages, loop: Loop, reference: Any, state: dict[str, Any], *, most_passes: int
) -> SlowAverage | None:
    """The slowest average that the steps showed; one that no loss depends on goes before one that some does.

    Args:
        averages: behind the last step.
        loop: likewise.
        reference: a batch; the loss of it is asked with other numbers in the place of the average.
        state: of the random numbers, set before every pass.
        most_passes: of the body that there is time for.
    """
    found = []
    for pair, rate, is_called in averages.found():
        is_used = is_called or most_passes < _PASSES * (1 + len(found)) or _is_used(loop, pair, reference, state)
        found.append(SlowAverage(name=pair.name, twin=pair.twin, rate=rate, is_used=is_used, batches=averages.batches))
    return min(found, key=lambda each: each.is_used, default=None)


def _is_used(loop: Loop, pair: TwinWeights, reference: Any, state: dict[str, Any]) -> bool:
    """Whether the loss depends on an average, or may: a loss that differs by itself does not tell."""
    held = list(pair.averaged())
    kept = [t.detach().clone() for t in held]

    def put(change: Callable[[Tensor], Tensor]) -> None:
        for tensor, old in zip(held, kept, strict=True):
            tensor.detach().copy_(change(old))

    def loss(change: Callable[[Tensor], Tensor]) -> float:
        with torch.no_grad():
            put(change)
        set_random_state(state)
        return float(loop.loss(reference))

    with randomness_restored():
        try:
            first, again = loss(lambda old: old), loss(lambda old: old)
            other = loss(lambda old: 2 * old.flip(0) + 0.1)
        finally:
            with torch.no_grad():
                put(lambda old: old)
    return first != again or first != other
