"""A user's program: a script, or a module as `python -m` takes it, run in this process as Python runs it. No torch."""

from __future__ import annotations

import contextlib
import os
import runpy
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_RUNPY = (runpy.__file__, "<frozen runpy>")


@dataclass(frozen=True)
class Program:
    """What `trainability run` runs.

    Attributes:
        name: path of a Python file, or the dotted name of a module.
        is_module: whether it is a module.
    """

    name: str
    is_module: bool = False

    def __str__(self) -> str:
        return f"-m {self.name}" if self.is_module else self.name

    @property
    def run_name(self) -> str:
        """What its run directories are named after."""
        return self.name if self.is_module else Path(self.name).stem

    @property
    def file(self) -> str | None:
        """Absolute path of a script; `None` of a module, whose file is known only when its packages have been imported."""
        return None if self.is_module else str(Path(self.name).absolute())

    def check(self) -> None:
        """Raise a one-line `ValueError` if there is no such script; a module is looked for when it is run."""
        if not self.is_module and not Path(self.name).is_file():
            raise ValueError(
                f"{self.name or repr('')} is not a file; trainability run takes a Python script and its arguments, or -m MODULE"
            )

    def run(self, arguments: Sequence[str]) -> None:
        """Run it as `__main__`, with its own `sys.argv` and `sys.path`; what it raises, it raises.

        Raises:
            ValueError: there is no such module; one line.
        """
        with self._as_main(arguments):
            if self.file is not None:
                runpy.run_path(self.file, run_name="__main__")
                return
            try:
                # As `python -m` does, this imports the module's packages first, and sets `__package__` and `__spec__`.
                runpy.run_module(self.name, run_name="__main__", alter_sys=True)
            except ImportError as error:
                if traceback.extract_tb(error.__traceback__)[-1].filename in _RUNPY:
                    raise ModuleNotFound(f"-m {self.name}: {error}") from None
                raise

    @contextlib.contextmanager
    def _as_main(self, arguments: Sequence[str]) -> Iterator[None]:
        kept = sys.argv, list(sys.path)
        # `-m` stands there until the module is found, as in `python -m`.
        sys.argv = ["-m" if self.is_module else self.name, *arguments]
        first = os.getcwd() if self.is_module else str(Path(self.name).resolve().parent)
        # The console script's own folder, or the current one of `python -m trainability`, stands where the program's is to be.
        is_ours = sys.path[:1] in ([""], [os.getcwd()], [os.path.dirname(kept[0][0])])
        sys.path[0 : int(is_ours)] = [first]
        try:
            yield
        finally:
            sys.argv, sys.path[:] = kept


class ModuleNotFound(ValueError):
    """There is no module of that name, or it is a package that cannot be run."""
