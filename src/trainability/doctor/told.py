"""A value that is not accepted, in the words of a one-line message. No torch."""

from __future__ import annotations

import inspect
import reprlib
from typing import Any


def told(value: Any) -> str:
    """Name a value: numbers and short texts as they are, the rest by its class."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return reprlib.repr(value)
    if inspect.isfunction(value) and value.__name__.isidentifier():
        return f"the function {value.__name__}"
    name = type(value).__name__
    begins = "AEFHILMNORSX" if name[:2].isupper() else "AEIOUaeiou"  # an SGD, as letters are spelled, and an Adam
    return f"{'an' if name[0] in begins else 'a'} {name}"
