"""Random transforms that a data set holds: how often they act, and whether its examples show them."""

from __future__ import annotations

import math
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.measure.randomness import seed_all

# As torchvision and its likes name and print them; one that is rare on purpose may come out alike every time.
_NAMES = r"(Random[A-Z]\w*|ColorJitter|\w*AutoAugment|RandAugment|TrivialAugment\w*|AugMix)"
_RANDOM = re.compile(rf"\b{_NAMES}\b(?!\(p=0?\.[0-2])")
_NAMED = re.compile(_NAMES)
_HOLDERS = ("transform", "transforms", "augment", "augmentation", "aug")
_PROBABILITY = re.compile(r"_?(p|p_?\w{1,5}|\w+_p|prob\w*|\w+_prob\w*|probability|rate|chance)")
_AT_MOST = 0.05  # how often a transform acts where its own probability is higher or unknown: a data set may call it rarely
_SEEN = 0.5  # of the times that it acts, an example shows it: a crop of an empty border, a turn of a disc
_BY_CHANCE = 1e-6
_MOST_READS, _MOST_SECONDS = 1500, 4.0
_DRAWS = (4, 8, 16, 32, 64)
_DEEPEST = 5


def is_random(dataset: Any) -> bool:
    """Whether a data set, or one that it is a part of, holds a transform that is random by its name."""
    return any(_RANDOM.search(repr(held)) for held in _held(dataset))


def how_often(dataset: Any) -> float:
    """The probability with which a declared random transform changes an example, at the least.

    It is read off attributes with the name of a probability; a transform inside of another acts at most as often as that.
    """
    return min(_AT_MOST, _SEEN * max((p for _, p in _transforms(dataset)), default=1.0))


def stays_the_same(dataset: Any, values: Callable[[Any], list[Tensor]], same: Callable[..., bool]) -> tuple[int, int] | None:
    """Read examples again and again, until chance no longer explains that no reading differs from another.

    Args:
        dataset: with indices.
        values: tensors of an example.
        same: whether two such lists are equal.

    Returns:
        How many examples were read, and how often each; None where one came out differently, where it would take too many
        readings, or too long, and where a transform is called and draws nothing, such as a projection that was drawn once.
    """
    if _is_called_without_drawing(dataset):
        return None
    size, often, until = len(dataset), how_often(dataset), time.monotonic() + _MOST_SECONDS
    plan = next((p for p in ((_needed(often, draws), draws) for draws in _DRAWS) if p[0] <= size), None)
    if plan is None or plan[0] * plan[1] > _MOST_READS:
        return None
    examples, draws = plan
    for k in range(examples):
        first = values(dataset[size * k // examples])
        for _ in range(draws - 1):
            if time.monotonic() > until or not same(first, values(dataset[size * k // examples])):
                return None
    return plan


def _needed(often: float, draws: int) -> int:
    """Examples of which, read so often, all come out alike by chance once in a million, or less often."""
    alike = often**draws + (1 - often) ** draws
    return math.ceil(math.log(_BY_CHANCE) / math.log(alike)) if 0 < alike < 1 else _MOST_READS + 1


def _held(dataset: Any) -> Iterator[Any]:
    depth = 0
    while dataset is not None and depth < _DEEPEST:
        yield from (held for name in _HOLDERS if (held := getattr(dataset, name, None)) is not None)
        dataset, depth = getattr(dataset, "dataset", None), depth + 1


def _transforms(dataset: Any) -> list[tuple[Any, float]]:
    """Transforms that are random by the name of their class, and how often each acts."""
    return [found for held in _held(dataset) for found in _within(held, 1.0, _DEEPEST)]


def _within(transform: Any, outer: float, depth: int) -> Iterator[tuple[Any, float]]:
    parts = list(transform.values()) if isinstance(transform, Mapping) else transform
    if isinstance(parts, list | tuple):
        for part in parts if depth else ():
            yield from _within(part, outer, depth - 1)
        return
    own = getattr(transform, "__dict__", None)
    if own is None or not depth:
        return
    own = {**own, **own.get("_modules", {})}
    given = [float(v) for k, v in own.items() if _PROBABILITY.fullmatch(k) and isinstance(v, int | float) and 0 <= v <= 1]
    here = outer * min(given, default=1.0)
    if _NAMED.search(type(transform).__name__):
        yield transform, here
    for part in own.values():
        yield from _within(part, here, depth - 1)


def _is_called_without_drawing(dataset: Any) -> bool:
    """Whether reading an example calls a transform with such a name, and uses none of the global random numbers."""
    wanted, is_called = {id(transform) for transform, _ in _transforms(dataset)}, False

    def notice(frame: FrameType, event: str, _: Any) -> None:
        nonlocal is_called
        names = frame.f_code.co_varnames
        is_called |= event == "call" and bool(names) and id(frame.f_locals.get(names[0])) in wanted

    seed_all(0)
    untouched = _next_numbers()
    seed_all(0)
    before = sys.getprofile()
    sys.setprofile(notice)
    try:
        dataset[0]
    finally:
        sys.setprofile(before)
    return is_called and _next_numbers() == untouched


def _next_numbers() -> tuple[float, ...]:
    numpy = sys.modules.get("numpy")
    return random.random(), float(torch.rand(())), *((numpy.random.rand(),) if numpy is not None else ())
