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
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"
