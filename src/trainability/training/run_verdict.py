"""The verdict of a run in the tense of its state: what "is training" has become when the run has ended."""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING

from trainability.doctor.reading import LEARNED_SHARE, WINDOW_STEPS
from trainability.doctor.view import verdict_title
from trainability.formats import NONE, finite

if TYPE_CHECKING:
    from trainability.training.record import Run


def run_verdict(run: Run) -> str:
    """Name the last verdict of a run.

    A run that ended while its loss still fell has learned if the loss is well below chance, as the doctor demands of a loss
    that has come to rest; else it was still training.

    Returns:
        The verdict, with the steps for which it will hold where that is predicted; a dash without a diagnosis.
    """
    said = run.findings or {}
    verdict = str(said.get("verdict", NONE))
    if verdict == "is training" and run.result is not None:
        return "has learned" if _is_far_below_chance(run) else "was still training when it ended"
    return verdict_title(verdict, said.get("remaining_steps"))


def _is_far_below_chance(run: Run) -> bool:
    names = run.data.get("class_names")
    num_classes = len(names) if names else run.loop.get("num_classes")
    losses = [loss for row in run.steps[-WINDOW_STEPS:] if (loss := finite(row.get("loss"))) is not None]
    if not num_classes or not losses:
        return False
    return fmean(losses) <= (1 - LEARNED_SHARE) * math.log(num_classes)
