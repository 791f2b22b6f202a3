"""Hooks that do not follow a copy of their module."""

import contextlib
from collections.abc import Callable
from typing import Any


class LeftBehind:
    """A module's hook that does nothing in a copy or a saved module: a body may copy its model in a step.

    `copy.deepcopy` would copy the object of a bound method, and copies of a closure would remain active.

    Args:
        hook: of any arguments.
    """

    def __init__(self, hook: Callable[..., Any]) -> None:
        self.hook = hook

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the hook."""
        return self.hook(*args, **kwargs)

    def __reduce__(self) -> Any:  # a callable with any arguments, which every Python can unpickle
        return getattr, (contextlib.nullcontext(), "__exit__")
