"""Certain facts where the body of a loop is known as a whole only, and what models against each other want."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from trainability.doctor.error_line import error_line
from trainability.doctor.facts import Facts
from trainability.doctor.joining import completed_facts
from trainability.doctor.measure.asked_for import unasked_for
from trainability.doctor.measure.bodies import look_at_body
from trainability.doctor.measure.certain import facts_of_step
from trainability.doctor.measure.idle_losses import follow_losses
from trainability.doctor.measure.kept_targets import kept_targets, with_kept_targets
from trainability.doctor.measure.nested import modules, optimizers, players
from trainability.doctor.measure.opponent_facts import facts_of_opponents
from trainability.doctor.measure.opponents import moved_both_ways, moved_by_judge, same_aim
from trainability.doctor.measure.recorded_facts import facts_of_recorded_body


def facts_of_body(
    model: Any, first: Any, *, step: Callable[[Any, Any, Any], Any], optimizer: Any, batches: Iterable[Any]
) -> Facts | None:
    """Look for certain facts in some runs of the body, on copies.

    Args:
        model: one, or a dict, tuple or list of several.
        first: batch of the loader.
        step: of (model, optimizer, batch): the body.
        optimizer: as the body is given it.
        batches: the training loader.

    Returns:
        The facts, with the models' names, or places, in them; None where nothing is known.
    """
    facts, notes, aim, moved, turned, asked, followed, of_body = None, [], None, None, None, None, None, {}
    of_opponents: dict[str, tuple[int, int] | None] = {}
    try:
        facts = facts_of_step(model, first, step=step, optimizer=optimizer, batches=batches)
    except Exception as error:
        notes.append(f"certain facts: {error_line(error)}")
    try:
        if len(modules(model)) == len(optimizers(optimizer)) == 1:
            recorded = facts_of_recorded_body(modules(model)[0], first, step=step, optimizer=optimizer, batches=batches)
            facts = completed_facts(facts, recorded) if recorded is not None else facts
    except Exception as error:
        notes.append(f"one step of the body, recorded: {error_line(error)}")
    try:
        if len(modules(model)) == len(optimizers(optimizer)) == 1:
            facts = with_kept_targets(facts, kept_targets(modules(model)[0], optimizer, step, batches))
    except Exception as error:
        notes.append(f"targets that the loop keeps: {error_line(error)}")
    try:
        of_body = look_at_body(model, optimizer, step, batches) or {}
    except Exception as error:
        notes.append(f"one step of the body: {error_line(error)}")
    try:
        followed = follow_losses(model, optimizer, step, batches)
    except Exception as error:
        notes.append(f"what became of each loss: {error_line(error)}")
    try:
        if len(modules(model)) > 1 or (len(players(model)) > 1 and len(optimizers(optimizer)) > 1):
            aim = same_aim(model, optimizer, step, batches)
            moved = moved_by_judge(model, optimizer, step, batches)
            turned = moved_both_ways(model, optimizer, step, batches)
            of_opponents = facts_of_opponents(model, optimizer, step, batches)
            asked = unasked_for(model, optimizer, step, first, followed.moved if followed is not None else ())
    except Exception as error:
        notes.append(f"models against each other: {error_line(error)}")
    idle = followed.idle if followed is not None else None
    nothing = (
        facts is None
        and not notes
        and all(found is None for found in (aim, moved, turned, asked, idle, *of_opponents.values()))
    )
    if nothing and not any(value is not None for value in of_body.values()):
        return None
    names = _names_of_players(model)
    facts = facts or Facts()
    same, both, one, unasked = (tuple(names[k] for k in found or ()) for found in (aim, moved, turned, asked))
    of_body = {name: value for name, value in of_body.items() if value is not None}
    return dataclasses.replace(
        facts,
        **of_body,
        same_aim=same,
        moved_by_judge=both,
        moved_both_ways=one,
        not_judged=unasked,
        idle_loss=idle,
        **{name: tuple(names[k] for k in pair) for name, pair in of_opponents.items() if pair is not None},
        notes=(*facts.notes, *notes),
    )


def _names_of_players(model: Any) -> list[str]:
    """Names of the networks: keys of the dict, names of the submodules, or `model K`."""
    parts = players(model)
    if isinstance(model, dict):
        return list(model)
    if parts != modules(model):
        known = {id(part): name for name, part in modules(model)[0].named_children()}
        return [known[id(part)] for part in parts]
    return [f"model {k}" for k in range(len(parts))]
