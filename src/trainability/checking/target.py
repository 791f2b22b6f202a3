"""Import MODULE:FUNCTION, the argument of `trainability check`, and return the `Setup` that the function returns."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

from trainability.config import nearest
from trainability.doctor.error_line import error_place
from trainability.doctor.setup import Setup
from trainability.doctor.told import told


@contextlib.contextmanager
def _working_directory_first() -> Iterator[None]:
    """Import as `python my_training.py` does while the user's function runs: from the working directory first.

    Afterwards the directory comes last: late imports by this package or torch find the installed packages, and not a file of
    the same name in the directory, while late imports by the user's code are still found.
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
    """Call the function `module:function`.

    Raises:
        ValueError: it cannot be imported, does not exist, fails, or does not return a `Setup`; the message says which.
    """
    name, _, function = target.partition(":")
    if not name or not function.isidentifier():
        raise ValueError(f"{target} is not MODULE:FUNCTION, as in my_training:setup")
    if name.endswith(".py"):
        module_name = ".".join(Path(name).with_suffix("").parts)
        raise ValueError(f"{target}: {name} is a file and no module; did you mean {module_name}:{function}?")
    with _working_directory_first():
        try:
            module = importlib.import_module(name)
        except (Exception, SystemExit) as error:
            raise ValueError(f"{target}: {name} does not import ({error_place(error)})") from error
        make = getattr(module, function, None)
        if hasattr(module, function) and not callable(make):
            raise ValueError(f"{target}: {function} is {told(make)}; expected a function that returns a trainability.Setup")
        if not callable(make):
            own = [key for key, value in vars(module).items() if callable(value) and getattr(value, "__module__", "") == name]
            raise ValueError(f"{target}: {name} has no function {function}{nearest(function, own) if own else ''}")
        try:
            setup = make()
        except (Exception, SystemExit) as error:
            raise ValueError(f"{target}: {function}() failed ({error_place(error)})") from error
    if not isinstance(setup, Setup):
        raise ValueError(f"{target}: {function}() returned {told(setup)}; expected a trainability.Setup")
    return setup
