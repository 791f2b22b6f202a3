"""Programs that end themselves while they are examined, as guards against losses that are not finite do."""

import contextlib
import math
import re
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_NOT_THE_PROGRAM = (str(Path(torch.__file__).parent), str(Path(__file__).parents[2]))
# Words in the names of variables that begin at infinity on purpose: the best so far, the one before, a limit.
_SENTINELS = {"best", "lowest", "highest", "min", "max", "minimum", "maximum", "prev", "previous", "last", "old", "before"}
_SENTINELS |= {"earlier", "former", "limit", "bound", "threshold", "target", "start", "inf", "infinity"}


class ProgramExits(RuntimeError):
    """The examined program has called `sys.exit`.

    Attributes:
        nonfinite: whether it held a number that is not finite when it did.
    """

    nonfinite = False


@contextlib.contextmanager
def exit_as_error() -> Iterator[None]:
    """A program that ends itself, as at a loss that is not finite, does not end the one that examines it.

    Raises:
        ProgramExits: in place of `SystemExit`.
    """
    try:
        yield
    except SystemExit as error:
        exits = ProgramExits(f"the loop ends the program, with exit code {error.code}")
        exits.nonfinite = _held_nonfinite(error)
        raise exits from error


def loss_or_exit(cost: Callable[[], Tensor], *, anyhow: bool = False) -> Tensor:
    """The loss; infinite where the program ends itself at a number that is not finite.

    Args:
        cost: computes it.
        anyhow: whatever the program ends itself at: weights that no step of its own leads to may be out of its range.

    Raises:
        ProgramExits: it ends itself for another reason.
    """
    try:
        return cost()
    except ProgramExits as error:
        if not (anyhow or error.nonfinite):
            raise
        return torch.tensor(math.inf)


def _held_nonfinite(error: SystemExit) -> bool:
    """Whether a variable of the program's own functions is one number that is not finite."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    own = [frame for frame in frames if not frame.f_code.co_filename.startswith(_NOT_THE_PROGRAM)]
    return any(_is_nonfinite(name, value) for frame in own for name, value in frame.f_locals.items())


def _is_nonfinite(name: str, value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and not bool(torch.isfinite(value.detach()).all())
    if not isinstance(value, float) or math.isfinite(value):
        return False
    words = re.findall(r"[a-z]+", re.sub(r"([A-Z])", r"_\1", name).lower())
    return math.isnan(value) or not (_SENTINELS & set(words) or (words and words[0].startswith(("best", "min", "max", "prev"))))
