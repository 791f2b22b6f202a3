"""Import MODULE:FUNCTION, the argument of `trainability check`, and return the `Setup` that the function returns."""

from __future__ import annotations

import contextlib
import importlib
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch.optim.optimizer import register_optimizer_step_post_hook

from trainability.checking.module_source import module_source
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


def _found(target: str, name: str, function: str) -> Any:
    """What a module calls `function`; a module whose source shows that it has none is not imported, which may take hours.

    Raises:
        ValueError: as `load_setup`.
    """
    source = module_source(name)
    if source is not None and not source.may_have_others and function not in source.names:
        raise ValueError(_has_none(target, function, source.functions, source.advice))
    try:
        with _steps_counted() as steps:
            module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        advice = source.advice if source is not None and source.works else ""
        raise ValueError(f"{target}: {name} does not import ({error_place(error)}){advice}") from error
    advice = source.advice if source is not None else ""
    if not hasattr(module, function):
        own = [key for key, value in vars(module).items() if callable(value) and getattr(value, "__module__", "") == name]
        raise ValueError(_has_none(target, function, own, advice))
    if steps:
        warnings.warn(f"{target}: {name} made {len(steps):,} optimizer steps as it was imported{advice}", stacklevel=3)
    return getattr(module, function)


def _has_none(target: str, function: str, own: Sequence[str], advice: str) -> str:
    return (
        f"{target}: {target.partition(':')[0]} has no function {function}{nearest(function, list(own)) if own else ''}{advice}"
    )


@contextlib.contextmanager
def _steps_counted() -> Iterator[list[None]]:
    """Add an item for each optimizer step."""
    steps: list[None] = []
    handle = register_optimizer_step_post_hook(lambda *_: steps.append(None))
    try:
        yield steps
    finally:
        handle.remove()


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
        make = _found(target, name, function)
        if not callable(make):
            raise ValueError(f"{target}: {function} is {told(make)}; expected a function that returns a trainability.Setup")
        try:
            setup = make()
        except (Exception, SystemExit) as error:
            raise ValueError(f"{target}: {function}() failed ({error_place(error)})") from error
    if not isinstance(setup, Setup):
        raise ValueError(f"{target}: {function}() returned {told(setup)}; expected a trainability.Setup")
    return setup
