"""Checks of single values; each raises a one-line `ValueError`."""

from __future__ import annotations

import difflib
import math
import unicodedata
from typing import Any

MOST_SHOWN = 120
_LARGEST_WHOLE = 2**63 - 1


def shown(value: Any, *, most: int = MOST_SHOWN) -> str:
    """Write a value for a message: one line, no control characters, shortened in the middle if it is long.

    Args:
        value: text is written unchanged, an integer of hundreds of digits by their number, anything else by its `str`.
        most: characters to keep.
    """
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**most:
        digits = int(value.bit_length() * math.log10(2))
        text = f"a whole number of {digits + (abs(value) >= 10**digits)} digits"
    else:
        text = plain(str(value))
    if len(text) <= most:
        return text
    half = (most - 3) // 2
    return f"{text[:half]} … {text[-half:]}"


def plain(text: str) -> str:
    r"""Escape control characters, direction marks and lone surrogates as \x1b, so that they do nothing in a terminal."""
    if text.isprintable():
        return text
    return "".join(character if _is_plain(character) else _escaped(character) for character in text)


def one_line(message: object) -> str:
    """Write a message of any origin as one line that is safe in a terminal (see `shown`). Words and paths are not shortened."""
    return shown(" ".join(shown(word, most=300) for word in str(message).split(" ")), most=2000)


def _is_plain(character: str) -> bool:
    """Whether a terminal only displays a character: no control character, no direction mark, no lone surrogate."""
    return character == " " or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def one_of(name: str, value: Any, accepted: tuple[Any, ...]) -> None:
    """Raise a one-line `ValueError` for a value that is not among the accepted ones."""
    if value not in accepted:
        raise ValueError(f"{name} is {shown(repr(value))}; accepted: {', '.join(map(str, accepted))}")


def in_range(
    name: str,
    value: float,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> None:
    """Raise a one-line `ValueError` for a number that is outside its range, not finite, or an integer of more than 64 bits."""
    if not hasattr(value, "__float__"):
        raise ValueError(f"{name} is {shown(repr(value))}; expected a number")
    bounds = [
        (above, lambda bound: value > bound, "above"),
        (at_least, lambda bound: value >= bound, "at least"),
        (below, lambda bound: value < bound, "below"),
        (at_most, lambda bound: value <= bound, "at most"),
    ]
    given = [(bound, holds, word) for bound, holds, word in bounds if bound is not None]
    is_whole = isinstance(value, int)
    if is_whole and at_most is None and below is None and value > _LARGEST_WHOLE:
        given.append((_LARGEST_WHOLE, lambda bound: value <= bound, "at most"))
    is_finite = is_whole or math.isfinite(value)
    if not is_finite or not all(holds(bound) for bound, holds, _ in given):
        limits = " and ".join(f"{word} {bound:g}" for bound, _, word in given)
        said = shown(value) if is_whole else f"{value:g}"
        raise ValueError(f"{name} is {said}; it must be {'' if is_finite else 'a finite number '}{limits}")


def nearest(name: str, known: list[str]) -> str:
    """Return "; did you mean …?" with the nearest known name, or the list of known names if none is near."""
    bare = {other.lstrip("-"): other for other in known}  # two dashes make no flags alike
    matches = difflib.get_close_matches(name.lstrip("-"), list(bare), n=1, cutoff=0.6)
    return f"; did you mean {bare[matches[0]]}?" if matches else f"; known are {', '.join(known)}"
