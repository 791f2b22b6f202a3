"""Format numbers for people, the same in terminal and report. Imports nothing of this package, so that all of it can use it.

Spaces are plain; pages that must not break between number and unit replace them by no-break spaces. The doctor, which depends
only on torch and the standard library, has its own `doctor.layer_table.number`.
"""

from __future__ import annotations

import math
from typing import Any

NONE = "–"
"""Written if there is no number."""


def finite(value: Any, scale: float = 1) -> float | None:
    """Return a record's number times the scale, or `None` if the record has none or it is not finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value) * scale


def percent(fraction: Any, *, missing: str = NONE) -> str:
    """Write an error or another fraction in percent: 0.125 as "12.50 %".

    Args:
        fraction: in [0, 1].
        missing: written if there is no number, or it is not finite.
    """
    present = finite(fraction, 100)
    return missing if present is None else f"{present:.2f} %"


def number(value: Any, digits: str = ".4g", *, missing: str = NONE) -> str:
    """Write a number with a typographic minus sign.

    Args:
        value: the number.
        digits: as in a format string.
        missing: written if there is no number, or it is not finite.
    """
    present = finite(value)
    return missing if present is None else f"{present:{digits}}".replace("-", "−")


def signed(value: Any, digits: str = ".1f", *, missing: str = NONE) -> str:
    """Write a number with its sign: 2.0 as "+2.0"."""
    return number(value, f"+{digits}", missing=missing)


def duration(seconds: float) -> str:
    """Write a duration in one or two units: "2.9 s", "12 min 5 s", "3 h 7 min", "2 d 4 h"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
