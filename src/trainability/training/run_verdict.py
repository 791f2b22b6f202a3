"""The verdict of a run in the tense of its state: "is training" changes when the run has ended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from trainability.doctor.reading import WINDOW_STEPS
from trainability.doctor.tense import in_tense
from trainability.doctor.view import verdict_title
from trainability.formats import NONE, finite
from trainability.training.run_state import has_ended

if TYPE_CHECKING:
    from trainability.training.record import Run


def run_verdict(run: Run) -> str:
    """Return the last verdict of a run.

    Returns:
        The verdict, with the number of steps for which it will hold if this is predicted; a dash without a diagnosis.
    """
    said = run.findings or {}
    verdict = str(said.get("verdict", NONE))
    now = verdict_of_records(verdict, run.steps, said, run.data, run.loop, has_ended=has_ended(run.folder, run.result))
    return verdict_title(now, said.get("remaining_steps"))


def verdict_of_records(
    verdict: str,
    steps: Sequence[Mapping[str, Any]],
    findings: Mapping[str, Any],
    data: Mapping[str, Any],
    loop: Mapping[str, Any],
    *,
    has_ended: bool,
) -> str:
    """Put a verdict into the tense of its run, from the run's records.

    Args:
        verdict: of the last diagnosis.
        steps: rows of the last steps, at least `WINDOW_STEPS` with a finite loss if there are so many.
        findings: contents of `findings.json`.
        data: contents of `data.json`.
        loop: contents of `loop.json`.
        has_ended: whether no process runs the loop any more.
    """
    losses = [loss for row in steps if (loss := finite(row.get("loss"))) is not None][-WINDOW_STEPS:]
    names = data.get("class_names")
    num_classes = len(names) if names else loop.get("num_classes")
    chance = finite(findings.get("chance_loss")) or (math.log(num_classes) if num_classes else None)
    return in_tense(verdict, has_ended=has_ended, recent=fmean(losses) if losses else None, chance=chance)
