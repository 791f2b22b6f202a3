"""Programs that end themselves while they are examined, as guards against losses that are not finite do."""

import contextlib
from collections.abc import Iterator


class ProgramExits(RuntimeError):
    """The examined program has called `sys.exit`."""


@contextlib.contextmanager
def exit_as_error() -> Iterator[None]:
    """A program that ends itself, as at a loss that is not finite, does not end the one that examines it.

    Raises:
        ProgramExits: in place of `SystemExit`.
    """
    try:
        yield
    except SystemExit as error:
        raise ProgramExits(f"the loop ends the program, with exit code {error.code}") from error
