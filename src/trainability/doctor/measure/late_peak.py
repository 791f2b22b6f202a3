"""Whether steps at a schedule's largest rate, which comes later than the rehearsal, can be survived: tried on a copy."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from trainability.doctor.measure.rehearsal import rehearse
from trainability.doctor.peaks import SCALES, is_lost, learns
from trainability.doctor.rehearsed import OtherRate, Rehearsal

_STEPS, _WARM_UP = 100, 3  # of a trial; the share of them before the peak is one over it


def try_late_peak(
    rehearsal: Rehearsal, model: Any, optimizer: Any, batches: Iterable[Any], *, seconds: float, **loop: Any
) -> Rehearsal | None:
    """Rehearse a loop through its whole schedule, which is passed through in a hundred steps, with smaller peaks.

    The warm-up is shorter so than in the run, and a longer one bears a larger peak. So the first is half of the peak, and
    only where that loses the net a tenth and a hundredth are tried, to see that they learn.

    Args:
        rehearsal: of this loop.
        model: as for `rehearse`.
        optimizer: likewise.
        batches: likewise; what can be read once only is left alone.
        seconds: at most about as long.
        loop: what else `rehearse` takes.

    Returns:
        The rehearsal with what these came to; None where nothing was tried. Everything is as before, bit for bit.
    """
    peak = rehearsal.late_peak
    if peak is None or isinstance(batches, Iterator) or rehearsal.opposed or rehearsal.ended_by == "not finite":
        return None
    # A look at a body that steps its scheduler itself takes one step more, which `OneCycleLR` refuses behind its end.
    stride = max(min(math.ceil(_WARM_UP * peak.step / _STEPS), (peak.length - 1) // _STEPS), 1)
    # As far behind the peak as before it, if there is room.
    steps = min(max(_STEPS, math.ceil(2 * peak.step / stride)), (peak.length - 1) // stride)
    deadline, trials = time.monotonic() + seconds, list[OtherRate]()
    for scale in SCALES:
        form = loop | {"max_steps": steps, "scale": scale, "schedule_steps": stride}
        form["seconds"] = (deadline - time.monotonic()) / 2  # what is lost is held against another trial
        try:
            found = rehearse(model, optimizer, batches, **form)
        except Exception:  # a program may stop at a loss that its own rate never shows it
            break
        trial = OtherRate(scale=scale, schedule_steps=stride, reference=found.reference, ended_by=found.ended_by)
        trials.append(trial)
        if learns(rehearsal, trial) or not (len(trials) > 1 or is_lost(rehearsal, trial)):
            break
    return replace(rehearsal, late_peak=replace(peak, trials=tuple(trials))) if trials else None
