"""Warnings of a loop that is watched: told of the line that they are of, once, as without anybody in between."""

from __future__ import annotations

import contextlib
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch.overrides

_call = lambda func, args, kwargs: func(*args, **kwargs)  # noqa: E731  one line, which is told as another


def call_as_caller(func: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """Call a function in place of a function mode's caller.

    A function warns with the file and the line of its caller. This makes them those of whom PyTorch's dispatch stands for, and
    the register of what was warned of, too; so the filter "once for each line" works as it does without the mode.

    Args:
        func: that the mode is given; called from `__torch_function__` directly.
        args: likewise.
        kwargs: likewise.
    """
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename == torch.overrides.__file__:
        frame = frame.f_back
    if frame.f_back is not None and frame.f_code is getattr(func, "__code__", None):
        frame = frame.f_back
    code = _call.__code__.replace(co_filename=frame.f_code.co_filename, co_firstlineno=frame.f_lineno)
    return types.FunctionType(code, frame.f_globals)(func, args, kwargs)


def caller(frame: types.FrameType) -> types.FrameType:
    """Who called a function, behind the function modes that stand between.

    Args:
        frame: of a mode's `__torch_function__`.
    """
    while (back := frame.f_back) is not None and (
        frame.f_code.co_name == "__torch_function__"
        or frame.f_code.co_filename in (torch.overrides.__file__, __file__)
        or back.f_code is call_as_caller.__code__
    ):
        frame = back
    return frame


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """Ignore warnings while the block runs.

    `warnings.catch_warnings` makes Python forget what it has warned of, so that a loop is warned a second time.
    """
    ignored: Any = ("ignore", None, Warning, None, 0)
    warnings.filters.insert(0, ignored)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the program has reset them meanwhile
            warnings.filters.remove(ignored)  # type: ignore[attr-defined]
