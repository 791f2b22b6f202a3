"""The verdict of a run in the tense of its state: what "is training" has become when the run has ended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from trainability.doctor.reading import LEARNED_SHARE, WINDOW_STEPS
from trainability.doctor.view import verdict_title
from trainability.formats import NONE, finite

if TYPE_CHECKING:
    from trainability.training.record import Run

TRAINS = "is training"
"""The verdict that has another name when the run has ended."""


def run_verdict(run: Run) -> str:
    """Name the last verdict of a run.

    A run that ended while its loss still fell has learned if the loss is well below chance, as the doctor demands of a loss
    that has come to rest; else it was still training.

    Returns:
        The verdict, with the steps for which it will hold where that is predicted; a dash without a diagnosis.
    """
    said = run.findings or {}
    verdict = str(said.get("verdict", NONE))
    if run.result is None or verdict != TRAINS:
        return verdict_title(verdict, said.get("remaining_steps"))
    return ended_verdict(run.steps, said, run.data, run.loop)


def ended_verdict(
    steps: Sequence[Mapping[str, Any]], findings: Mapping[str, Any], data: Mapping[str, Any], loop: Mapping[str, Any]
) -> str:
    """What "is training" has become at the end of a run.

    Args:
        steps: rows of the last steps, at least `WINDOW_STEPS` if there are so many.
        findings: contents of `findings.json`.
        data: contents of `data.json`.
        loop: contents of `loop.json`.
    """
    losses = [loss for row in steps[-WINDOW_STEPS:] if (loss := finite(row.get("loss"))) is not None]
    names = data.get("class_names")
    num_classes = len(names) if names else loop.get("num_classes")
    chance = finite(findings.get("chance_loss")) or (math.log(num_classes) if num_classes else None)
    return ended_word(fmean(losses) if losses else None, chance)


def ended_word(recent: float | None, chance: float | None) -> str:
    """The same from the mean of the last losses and the loss at chance; `None` where one is unknown."""
    is_far_below = recent is not None and chance is not None and recent <= (1 - LEARNED_SHARE) * chance
    return "has learned" if is_far_below else "was still training when it ended"
