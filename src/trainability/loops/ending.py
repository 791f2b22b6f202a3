"""What a script leaves when it has ended: whether there is anything to say of it, and the directories of its runs."""

from __future__ import annotations

import contextlib
from pathlib import Path

from trainability.doctor.diagnosis import Diagnosis
from trainability.loops.saying import say
from trainability.loops.script_error import NO_STEP_BEFORE
from trainability.training.record import LOOP


def is_empty(diagnosis: Diagnosis) -> bool:
    """Whether nothing was seen of a training: no step, and nothing to change."""
    return not diagnosis.evidence.steps and not diagnosis.asks_for_change


def say_nothing_seen(error: BaseException | None) -> None:
    """Say that no step was seen, in one line.

    Args:
        error: what ended the script; `None` if it came to its end.
    """
    if isinstance(error, SyntaxError):  # which says by itself that nothing was run
        return
    if isinstance(error, Exception):
        say(NO_STEP_BEFORE)
        return
    say("no training was seen: no optimizer of PyTorch stepped on parameters of a module that ran with gradients")


def runs_in(folder: Path) -> list[Path]:
    """The run directory, and those below it where several optimizers have one each."""
    below = [path.parent for path in sorted(folder.glob(f"*/{LOOP}"))]
    return [folder, *below] if (folder / LOOP).exists() or not below else below


def remove_if_empty(folder: Path) -> None:
    """Remove the folder of runs of which none was kept."""
    with contextlib.suppress(OSError):  # it holds a run, or something of the user's, or was never made
        folder.rmdir()
