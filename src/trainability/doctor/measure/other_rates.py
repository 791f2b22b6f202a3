"""The rehearsal, and where it leaves open what will happen, the same at other learning rates in the time that is left."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from trainability.doctor.error_line import error_line
from trainability.doctor.measure.rehearsal import rehearse
from trainability.doctor.other_rates import schedule_steps
from trainability.doctor.outlook import wanted_scale
from trainability.doctor.rehearsed import OtherRate, Rehearsal


def rehearse_with_other_rates(
    model: Any, optimizer: Any, batches: Iterable[Any], *, seconds: float = 10.0, **loop: Any
) -> Rehearsal:
    """Rehearses a training loop, and again at other rates while its outlook asks for one and time is left.

    Args:
        model: as for `rehearse`.
        optimizer: likewise.
        batches: likewise; of what can be read once only, no other rate is rehearsed.
        seconds: for all of it, at most about as long.
        loop: what else `rehearse` takes.

    Returns:
        The rehearsal with its other rates. Models, optimizers, scheduler and random state are as before, bit for bit.

    Raises:
        ValueError: as `rehearse`.
    """
    began = time.monotonic()
    rehearsal = rehearse(model, optimizer, batches, seconds=seconds, **loop)
    if isinstance(batches, Iterator):
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
