"""The rehearsal, and the same at other learning rates in the time that is left.

Where it leaves open what will happen, other rates may tell; where the rate is the cause, they say which one to set.
"""

import functools
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from trainability.doctor.error_line import error_line
from trainability.doctor.evidence import Evidence
from trainability.doctor.measure.clips import clips_raised
from trainability.doctor.measure.rehearsal import rehearse
from trainability.doctor.other_rates import schedule_steps
from trainability.doctor.outlook import is_enough, wanted_scale
from trainability.doctor.rate_choice import next_rate, own_rate
from trainability.doctor.rehearsed import OtherRate, Rehearsal

MOST_STEPS = 100  # at a rate that a remedy may propose, where the loop's own came to a loss that is not finite


def rehearse_with_other_rates(
    model: Any,
    optimizer: Any,
    batches: Iterable[Any],
    *,
    seconds: float = 10.0,
    plateau_steps: float | None = None,
    **loop: Any,
) -> Rehearsal:
    """Rehearses a training loop until that is enough, and again at other rates while its outlook asks and time is left.

    Args:
        model: as for `rehearse`.
        optimizer: likewise.
        batches: likewise; of what can be read once only, no other rate is rehearsed.
        seconds: for all of it, at most about as long.
        plateau_steps: predicted steps at chance level, where there is a prediction.
        loop: what else `rehearse` takes.

    Returns:
        The rehearsal with its other rates. Models, optimizers, scheduler and random state are as before, bit for bit.

    Raises:
        ValueError: as `rehearse`.
    """
    began = time.monotonic()
    enough = functools.partial(is_enough, seconds=seconds, plateau_steps=plateau_steps)
    rehearsal = rehearse(model, optimizer, batches, seconds=seconds, is_enough=enough, **loop)
    if isinstance(batches, Iterator) or rehearsal.ended_by == "enough":
        return rehearsal
    while (scale := wanted_scale(rehearsal)) is not None:
        left = began + seconds - time.monotonic()
        if left < rehearsal.seconds:  # critical steps are left out, so it takes less than that
            note = f"learning rates other than the loop's: each takes about {rehearsal.seconds:.0f} s more (rehearse_seconds)"
            return replace(rehearsal, notes=(*rehearsal.notes, note))
        form = loop | {"max_steps": len(rehearsal.steps), "scale": scale, "schedule_steps": schedule_steps(rehearsal, scale)}
        try:
            found = rehearse(model, optimizer, batches, seconds=left, **form)
        except Exception as error:  # a program may stop at a loss that its own rate never shows it
            note = f"a learning rate {scale:g} times as large: {error_line(error)}"
            return replace(rehearsal, notes=(*rehearsal.notes, note))
        tried = OtherRate(
            scale=scale,
            schedule_steps=form["schedule_steps"],
            reference=found.reference,
            ended_by=found.ended_by,
        )
        rehearsal = replace(rehearsal, other_rates=(*rehearsal.other_rates, tried))
    return rehearsal


def try_for_remedy(
    evidence: Evidence, model: Any, optimizer: Any, batches: Iterable[Any], *, seconds: float, **loop: Any
) -> Rehearsal | None:
    """Rehearses a loop whose learning rate is the cause at rates that a remedy may propose, to see which one learns.

    Args:
        evidence: with the rehearsal of this loop.
        model: as for `rehearse`.
        optimizer: likewise.
        batches: likewise; what can be read once only is left alone.
        seconds: for all of it; no trial begins that would take longer than is left.
        loop: what else `rehearse` takes.

    Returns:
        The rehearsal with these rates; None where none was tried. Everything is as before, bit for bit.
    """
    own, began = own_rate(evidence), time.monotonic()
    if own is None or evidence.rehearsal is None or isinstance(batches, Iterator):
        return None
    rehearsal, needed = evidence.rehearsal, evidence.rehearsal.seconds
    steps = len(rehearsal.steps) if rehearsal.ended_by != "not finite" else MOST_STEPS
    while (rate := next_rate(replace(evidence, rehearsal=rehearsal))) is not None:
        left = began + seconds - time.monotonic()
        if left < needed:
            break
        scale = rate / own
        try:
            found = rehearse(model, optimizer, batches, seconds=left, scale=scale, max_steps=steps, **loop)
        except Exception:  # a program may stop at a loss that its own rate never shows it
            break
        needed = max(needed, found.seconds)
        tried = OtherRate(scale=scale, reference=found.reference, ended_by=found.ended_by)
        rehearsal = replace(rehearsal, remedy_rates=(*rehearsal.remedy_rates, tried))
    return rehearsal if rehearsal.remedy_rates else None


def try_raised_clip(
    rehearsal: Rehearsal, model: Any, optimizer: Any, batches: Iterable[Any], *, seconds: float, **loop: Any
) -> Rehearsal | None:
    """Rehearses a loop that clips each gradient to next to nothing with their usual norm as the threshold.

    Args:
        rehearsal: of this loop.
        model: as for `rehearse`.
        optimizer: likewise.
        batches: likewise; what can be read once only is left alone.
        seconds: at most about as long.
        loop: what else `rehearse` takes.

    Returns:
        The rehearsal with what that came to; None where it was not tried. Everything is as before, bit for bit.
    """
    clipped = rehearsal.clipped
    if clipped is None or isinstance(batches, Iterator) or seconds < rehearsal.seconds:
        return None
    steps = len(rehearsal.steps)
    try:
        with clips_raised(clipped.norm):
            found = rehearse(model, optimizer, batches, seconds=seconds, max_steps=steps, **loop)
    except Exception:  # a program may stop at a loss that its own clipping never shows it
        return None
    if found.ended_by == "not finite" or not found.reference or found.reference[-1].step != rehearsal.reference[-1].step:
        return None
    return replace(rehearsal, clipped=replace(clipped, tried=found.reference))
