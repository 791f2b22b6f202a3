"""Checks of one value each, that raise the one-line error of the user's mistake."""

from __future__ import annotations

import difflib
import math
from typing import Any


def one_of(name: str, value: Any, accepted: tuple[Any, ...]) -> None:
    """Raise the one-line `ValueError` of a value that is not among the accepted ones."""
    if value not in accepted:
        raise ValueError(f"{name} is {value!r}; accepted: {', '.join(map(str, accepted))}")


def in_range(
    name: str,
    value: float,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> None:
    """Raise the one-line `ValueError` of a number outside its range, or not finite."""
    bounds = [
        (above, lambda bound: value > bound, "above"),
        (at_least, lambda bound: value >= bound, "at least"),
        (below, lambda bound: value < bound, "below"),
        (at_most, lambda bound: value <= bound, "at most"),
    ]
    try:
        value = float(value)
    except OverflowError:
        raise ValueError(
            f"{name} is a whole number of {len(str(abs(int(value))))} digits; it must be a finite number"
        ) from None
    given = [(bound, holds, word) for bound, holds, word in bounds if bound is not None]
    if not math.isfinite(value) or not all(holds(bound) for bound, holds, _ in given):
        limits = " and ".join(f"{word} {bound:g}" for bound, _, word in given)
        raise ValueError(f"{name} is {value:g}; it must be {'' if math.isfinite(value) else 'a finite number '}{limits}")


def nearest(name: str, known: list[str]) -> str:
    """Return "; did you mean …?" with the nearest known name, or the list of them where none is near."""
    matches = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {matches[0]}?" if matches else f"; known are {', '.join(known)}"
