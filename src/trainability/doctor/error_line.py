"""An exception in one line. No torch."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

_NOT_THE_USERS = (
    str(Path(__file__).parents[1]),
    *(sysconfig.get_path(kind) for kind in ("purelib", "platlib", "stdlib")),
    "<frozen",
    "<string>",  # methods that a dataclass writes for itself
)
_LONGEST = 300  # torch lists all backends behind an operator that a sparse tensor lacks


def error_line(error: BaseException) -> str:
    """Write an exception's type and the first line of its message, up to `_LONGEST` characters of it."""
    line = str(error).splitlines()[0] if str(error) else "no message"
    return f"{type(error).__name__}: {line if len(line) <= _LONGEST else line[:_LONGEST].rstrip() + ' …'}"


def error_place(error: BaseException) -> str:
    """Write an exception in one line, with the place in the user's code where it arose: "..., train.py, line 3"."""
    line = error_line(error)
    if isinstance(error, SyntaxError):
        return line  # which names it by itself
    own = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(_NOT_THE_USERS)]
    if not own:
        return line
    path = Path(own[-1].filename)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{line}, {shown}, line {own[-1].lineno}"


def is_raised_here(error: BaseException) -> bool:
    """Whether a function of this package raised an error itself: not what it called, such as a model, a loss or a loader."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename.startswith(_NOT_THE_USERS[0])


def is_deliberate(error: BaseException) -> bool:
    """Whether the line that an error comes from raises it, and does not fail, as `math.sqrt` of a negative number does."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and (frames[-1].line or "").startswith("raise")
