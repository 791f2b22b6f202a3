"""`trainability run`: a training script as it is, in this process, watched from the moment at which it imports torch."""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from trainability.loops.program import ModuleNotFound, Program
from trainability.loops.script_error import NO_STEP_BEFORE, print_as_python
from trainability.training.free_folder import check_is_free, check_is_writable, next_free

if TYPE_CHECKING:
    from trainability.loops.refusing import Refusing
    from trainability.loops.script_watch import ScriptWatch

CHECK_STEPS = 100
"""Steps after which `--check` gives its verdict."""
_CHECK_EVERY = 10
_NOTHING_SEEN, _INTERRUPTED = 2, 130


def run_script(
    program: Program, arguments: Sequence[str], *, every: int, steps: int | None, is_check: bool, folder: Path | None
) -> int:
    """Run a script as `python SCRIPT ARGUMENTS` would, or a module as `python -m`, and watch what it trains.

    Output, exit code, arguments, `__main__` and `sys.path` are the script's own. torch is not imported before the script does.

    Args:
        program: a Python file, or a module.
        arguments: of the program.
        every: sample layers at every so many optimizer steps.
        steps: stop after so many optimizer steps; `None` lets the script end by itself.
        is_check: stop after `CHECK_STEPS` steps (or `steps`) and write no run directory. Where the script's exit code is 0,
            exit with 1 if a finding is worse than a hint, with 2 if no training was seen or an optimizer has a number that is
            not usable.
        folder: run directory; `None` takes the next free one below runs/, named after the script.

    Returns:
        The exit code of the script; where that is 0 and `is_check` is set or `steps` ended it, ours.

    Raises:
        ValueError: there is no such script or module, `steps` or `every` is below 1, or the directory holds a run or cannot
            be written.
    """
    program.check()
    for name, value in (("every", every), ("steps", steps)):
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
    if folder is not None and is_check:
        raise ValueError("--check writes no run directory; leave out --dir")
    watches: list[ScriptWatch] = []
    refusals: list[Refusing] = []
    root = Path("runs").resolve()  # the script may change directories
    if not is_check and os.environ.get("RANK", "0") == "0":  # of several processes, the others may find the first one's run
        check_is_writable(root) if folder is None else check_is_free(folder)
    place = None if is_check else (lambda: next_free(program.run_name, root)) if folder is None else folder.resolve

    def install(torch: ModuleType) -> None:
        from trainability.loops.refusing import Refusing
        from trainability.loops.script_watch import ScriptWatch

        if is_check:
            refusals.append(Refusing())
        most = steps if steps is not None else CHECK_STEPS if is_check else None
        watches.append(ScriptWatch(str(program), every=_CHECK_EVERY if is_check else every, most_steps=most, place=place))
        watches[-1].begin()

    actions: dict[str, Callable[[ModuleType], None]] = {"torch": install}
    for name, kind in _TRAINERS.items():
        actions[name] = lambda module, kind=kind: watches[-1].trainers.adopt(module, kind)
    with _after_import(actions):
        try:
            code, error = _run(program, arguments)
        except ModuleNotFound:
            for refusal in refusals:
                refusal.end()
            for watch in watches:
                watch.abandon()
            raise
    if not watches:
        _say_no_torch(program, error)
        return _NOTHING_SEEN if is_check and code == 0 else code
    for refusal in refusals:
        refusal.end()
        if refusal.why is not None:
            watches[-1].abandon()
            print(f"trainability: {refusal.why}", file=sys.stderr)
            return _NOTHING_SEEN
    worse = watches[-1].end(error)
    if not is_check:
        return code
    if code == 0 and not watches[-1].has_seen_steps and not worse:
        return _NOTHING_SEEN
    return code or int(worse)


def _say_no_torch(program: Program, error: BaseException | None) -> None:
    """Say that nothing could be watched, unless the script ended itself with a code, or Python could not read it."""
    if isinstance(error, Exception) and not isinstance(error, SyntaxError):
        print(f"trainability: {NO_STEP_BEFORE}", file=sys.stderr)
    elif error is None or (isinstance(error, SystemExit) and not error.code):
        print(f"trainability: {program} imported no torch: no training was seen", file=sys.stderr)


_TRAINERS = {
    "lightning.pytorch.trainer.trainer": "lightning",
    "pytorch_lightning.trainer.trainer": "lightning",
    "transformers.trainer": "transformers",
}
"""Modules that define a Trainer -> how a callback is added to it."""


def _run(program: Program, arguments: Sequence[str]) -> tuple[int, BaseException | None]:
    """Run the program; an error of it is printed as Python prints it. Returns its exit code and what ended it."""
    from trainability.loops.enough import Enough

    try:
        program.run(arguments)
    except Enough:
        return 0, None
    except ModuleNotFound:
        raise
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            return stop.code or 0, stop
        print(stop.code, file=sys.stderr)
        return 1, stop
    except BaseException as error:
        print_as_python(error, program.file)
        return _INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1, error
    return 0, None


class _AfterImport(importlib.abc.MetaPathFinder):
    """Runs an action when a module has been imported."""

    def __init__(self, actions: dict[str, Callable[[ModuleType], None]]) -> None:
        self.actions = actions

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        action = self.actions.pop(name, None)
        if action is None:
            return None
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            action(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


@contextlib.contextmanager
def _after_import(actions: dict[str, Callable[[ModuleType], None]]) -> Iterator[None]:
    """Run actions as modules are imported; of those that are there already, at once."""
    for name in [name for name in actions if name in sys.modules]:
        actions.pop(name)(sys.modules[name])
    finder = _AfterImport(actions)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
