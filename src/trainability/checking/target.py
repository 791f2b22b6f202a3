"""MODULE:FUNCTION, as `trainability check` takes it, to the `Setup` that the function returns."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from trainability.checking.check import one_line
from trainability.doctor.setup import Setup


def load_setup(target: str) -> Setup:
    """Call the function that `module:function` names.

    Raises:
        ValueError: it does not import, is not there, fails, or does not return a `Setup`; one line that says which.
    """
    name, _, function = target.partition(":")
    if not name or not function.isidentifier():
        raise ValueError(f"{target} is not MODULE:FUNCTION, as in my_training:setup")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # a command, unlike `python -m`, does not look where it was called
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
