"""MODULE:FUNCTION, as `trainability check` takes it, to the `Setup` that the function returns."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

from trainability.checking.check import one_line
from trainability.doctor.setup import Setup


@contextlib.contextmanager
def _working_directory_first() -> Iterator[None]:
    """Import as `python my_training.py` does while the user's function runs: from the working directory before all else.

    After that the directory comes last. What is imported late then, by this package or torch, is what is installed, and not a
    file there that happens to have, or was given, the same name; what the user's own code imports late is still found.
    """
    here = str(Path.cwd())
    if here in sys.path or "" in sys.path:
        yield
        return
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
        sys.path.append(here)


def load_setup(target: str) -> Setup:
    """Call the function that `module:function` names.

    Raises:
        ValueError: it does not import, is not there, fails, or does not return a `Setup`; one line that says which.
    """
    name, _, function = target.partition(":")
    if not name or not function.isidentifier():
        raise ValueError(f"{target} is not MODULE:FUNCTION, as in my_training:setup")
    with _working_directory_first():
        try:
            module = importlib.import_module(name)
        except (Exception, SystemExit) as error:
            raise ValueError(f"{target}: {name} does not import ({one_line(error)})") from error
        make = getattr(module, function, None)
        if not callable(make):
            raise ValueError(f"{target}: {name} has no function {function}")
        try:
            setup = make()
        except (Exception, SystemExit) as error:
            raise ValueError(f"{target}: {function}() failed ({one_line(error)})") from error
    if not isinstance(setup, Setup):
        raise ValueError(f"{target}: {function}() returned {type(setup).__name__}; expected a trainability.Setup")
    return setup
