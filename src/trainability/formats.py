"""Numbers as a person reads them, the same in terminal, report and pages. Imports nothing, so that every room may use it.

Spaces are plain ones; a page that must not break between number and unit replaces them by no-break spaces. The doctor, which
depends on torch and the standard library only, has its own `doctor.layer_table.number`.
"""

from __future__ import annotations

import math
from typing import Any

NONE = "–"
"""Stands where there is no number."""


def finite(value: Any, scale: float = 1) -> float | None:
    """Return a record's number times the scale, or `None` where the record has none or it is not finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value) * scale


def percent(fraction: Any, *, missing: str = NONE) -> str:
    """Write an error or another fraction in percent: 0.125 as "12.50 %".

    Args:
        fraction: in [0, 1].
        missing: written where there is no number, or it is not finite.
    """
    present = finite(fraction, 100)
    return missing if present is None else f"{present:.2f} %"


def number(value: Any, digits: str = ".4g", *, missing: str = NONE) -> str:
    """Write a number with a real minus sign.

    Args:
        value: the number.
        digits: as in a format string.
        missing: written where there is no number, or it is not finite.
    """
    present = finite(value)
    return missing if present is None else f"{present:{digits}}".replace("-", "−")


def signed(value: Any, digits: str = ".1f", *, missing: str = NONE) -> str:
    """Write a number with its sign, as of a power of ten: 2.0 as "+2.0"."""
    return number(value, f"+{digits}", missing=missing)


def duration(seconds: float) -> str:
    """Write a time in one or two units: "2.9 s", "12 min 5 s", "3 h 7 min", "2 d 4 h"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
