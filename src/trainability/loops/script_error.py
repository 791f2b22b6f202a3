"""The traceback of a script that fails, as Python prints it: without the frames of what runs and watches it. No torch."""

from __future__ import annotations

import runpy
import traceback
from pathlib import Path
from types import TracebackType

_OURS = str(Path(__file__).parents[1])
_CALLS_AS_CALLER = str(Path(_OURS) / "doctor" / "measure" / "warned.py")
"""What it calls runs in a frame that has the name of the caller's file."""
_IMPORTS = "<frozen importlib"
NO_STEP_BEFORE = "no training step was seen before the script failed"
"""Said below the traceback."""


def print_as_python(error: BaseException, script: str | None) -> None:
    """Print an error of a script to standard error.

    Frames before the script's first are left out, and ours after it, unless the error arose in one of them: then the script
    called this package itself.

    Args:
        error: with its causes, whose tracebacks are shortened, too.
        script: that was run, by its absolute path; `None` of a module, which begins with the first file that is the user's.
    """
    own = _from_script(error, script)
    seen: set[int] = set()
    todo = [error]
    while todo:
        each = todo.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        each.__traceback__ = _without_ours(own if each is error else each.__traceback__)
        todo += [other for other in (each.__cause__, each.__context__) if other is not None]
    traceback.print_exception(error)


def _from_script(error: BaseException, script: str | None) -> TracebackType | None:
    """Begin with the script's first frame; with none where the script itself does not compile."""
    own = error.__traceback__
    while own is not None and not _is_first(own.tb_frame.f_code.co_filename, script):
        own = own.tb_next
    does_not_compile = isinstance(error, SyntaxError) and script in (None, error.filename)
    return own if own is not None or does_not_compile else error.__traceback__


def _is_first(file: str, script: str | None) -> bool:
    return file == script if script is not None else not file.startswith((_OURS, "<frozen ", runpy.__file__))


def _without_ours(first: TracebackType | None) -> TracebackType | None:
    frames: list[TracebackType] = []
    while first is not None:
        frames.append(first)
        first = first.tb_next
    files = [each.tb_frame.f_code.co_filename for each in frames]
    if not files or files[-1].startswith(_OURS):
        return frames[0] if frames else None
    kept = None
    for place in reversed(range(len(frames))):
        is_called_for_them = place > 0 and files[place - 1] == _CALLS_AS_CALLER
        if files[place].startswith((_OURS, _IMPORTS)) or is_called_for_them:
            continue
        each = frames[place]
        kept = TracebackType(kept, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return kept
