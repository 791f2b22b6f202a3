"""The name that a program has for a module: of the variable that holds it, where its frames tell."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

from torch import nn

_NOT_THE_USERS = ("torch", "trainability")
_NO_NAMES = ("self", "cls")
_TELLS_LOCALS = {"locals", "vars", "dir", "eval", "exec"}


def variable_name(value: object) -> str | None:
    """Find what the running program calls a module or an optimizer.

    The script's own variables come first, then those of the functions called.

    Looked at are variables, the attributes of `self`, the children of a module and the values of a dict. Nothing of the
    program is changed or kept, and none of its code runs.

    Args:
        value: is looked for by identity.

    Returns:
        An identifier; `None` where no frame has one.
    """
    return _name_of_what(lambda found: found is value)


def holder_name(parameters: set[int]) -> str | None:
    """Find what the running program calls a module that holds parameters.

    Args:
        parameters: ids of them.

    Returns:
        As `variable_name`.
    """

    def holds(found: object) -> bool:
        is_module = issubclass(type(found), nn.Module)
        return is_module and any(id(p) in parameters for p in nn.Module.parameters(found))  # type: ignore[arg-type]

    return _name_of_what(holds)


def _name_of_what(is_it: Callable[[object], bool]) -> str | None:
    with contextlib.suppress(Exception):  # namespaces may be the program's own classes; a name is worth no failure
        for frame in reversed(list(_users_frames())):
            for names in (_local_variables(frame), frame.f_globals):
                if (found := _name_in(names, is_it)) is not None:
                    return found
    return None


def _users_frames() -> Iterator[FrameType]:
    """The frames that are the program's own, innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        root = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if root not in _NOT_THE_USERS and root not in sys.stdlib_module_names:
            yield frame
        frame = frame.f_back


def _local_variables(frame: FrameType) -> dict[str, Any]:
    """A copy of a frame's variables.

    Before Python 3.13 a function's variables are read through a dict that stays with its frame and that `locals()` hands out:
    it is emptied, so that it keeps no batch alive, and is not asked where the function or a debugger may hold it.
    """
    code = frame.f_code
    is_snapshot = sys.version_info < (3, 13) and bool(code.co_flags & inspect.CO_OPTIMIZED)
    if is_snapshot and (sys.gettrace() is not None or _TELLS_LOCALS & set(code.co_names)):
        return {}
    variables = dict(frame.f_locals)
    if is_snapshot:
        frame.f_locals.clear()  # pyright: ignore[reportAttributeAccessIssue]
    return variables


def _name_in(variables: Mapping[str, Any], is_it: Callable[[object], bool]) -> str | None:
    """The first public name with such a value, else the name inside the first value that holds it."""
    public = [(name, value) for name, value in list(variables.items()) if not name.startswith("_")]
    for name, value in public:
        if name not in _NO_NAMES and is_it(value):
            return name
    for name, value in public:
        for inner, part in _parts(name, value):
            if isinstance(inner, str) and inner.isidentifier() and not inner.startswith("_") and is_it(part):
                return inner
    return None


def _parts(name: str, value: Any) -> list[tuple[Any, Any]]:
    """What a value holds, by name. Types are asked of the type alone: a proxy's own answer might make what it stands for."""
    kind = type(value)
    if kind is dict:
        return list(value.items())
    if issubclass(kind, nn.Module):
        return list((value.__dict__.get("_modules") or {}).items())
    own = object.__getattribute__(value, "__dict__") if name == "self" and kind.__dictoffset__ else {}
    return list(own.items())
