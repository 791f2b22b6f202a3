"""Hooks that do not go with a copy of their module."""

import contextlib
from collections.abc import Callable
from typing import Any


class LeftBehind:
    """A hook of a module that does nothing in a copy of it, or where it is saved: a body may copy its model in a step.

    `copy.deepcopy` would take along what a bound method holds, and copies of a closure would go on looking.

    Args:
        hook: of any arguments.
    """

    def __init__(self, hook: Callable[..., Any]) -> None:
        self.hook = hook

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the hook."""
        return self.hook(*args, **kwargs)

    def __reduce__(self) -> Any:  # something that takes any arguments, and that any Python can load
        return getattr, (contextlib.nullcontext(), "__exit__")
