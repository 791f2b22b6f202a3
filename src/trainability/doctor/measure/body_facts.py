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
from trainability.doctor.measure.nested import modules, named_players, optimizers, players
from trainability.doctor.measure.opponent_facts import facts_of_opponents
from trainability.doctor.measure.opponents import moved_both_ways, moved_by_critic, same_aim
from trainability.doctor.measure.recorded_facts import facts_of_recorded_body
from trainability.doctor.opponents import Opponents


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
    facts, notes = None, []
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
    of_body: dict[str, Any] = {}
    try:
        of_body = look_at_body(model, optimizer, step, batches) or {}
    except Exception as error:
        notes.append(f"one step of the body: {error_line(error)}")
    of_body = {name: value for name, value in of_body.items() if value is not None}
    opponents = _opponents(model, first, step=step, optimizer=optimizer, batches=batches, notes=notes)
    if facts is None and not notes and not of_body and opponents == Opponents():
        return None
    facts = facts or Facts()
    return dataclasses.replace(facts, **of_body, opponents=opponents, notes=(*facts.notes, *notes))


def _opponents(
    model: Any,
    first: Any,
    *,
    step: Callable[[Any, Any, Any], Any],
    optimizer: Any,
    batches: Iterable[Any],
    notes: list[str],
) -> Opponents:
    """What several models, or several losses, want of each other; what cannot be asked is written to `notes`."""
    followed, found = None, dict[str, Any]()
    try:
        followed = follow_losses(model, optimizer, step, batches)
    except (Exception, SystemExit) as error:  # a body may end the program where its loss is not finite
        notes.append(f"what became of each loss: {error_line(error)}")
    if len(modules(model)) > 1 or (len(players(model)) > 1 and len(optimizers(optimizer)) > 1):
        questions: dict[str, Callable[[], dict[str, tuple[int, ...] | None]]] = {
            "what both want": lambda: {"same_aim": same_aim(model, optimizer, step, batches)},
            "whom a critic moves": lambda: {"moved_by_critic": moved_by_critic(model, optimizer, step, batches)},
            "who is moved twice": lambda: {"moved_both_ways": moved_both_ways(model, optimizer, step, batches)},
            "limits and noise": lambda: facts_of_opponents(model, optimizer, step, batches),
            "classes asked for": lambda: {"not_judged": unasked_for(model, optimizer, step, first, followed)},
        }
        for name, question in questions.items():
            try:
                found |= question()
            except Exception as error:
                notes.append(f"models against each other, {name}: {error_line(error)}")
    names = [name for name, _ in named_players(model)]
    told: dict[str, Any] = {name: tuple(names[k] for k in places) for name, places in found.items() if places is not None}
    if followed is not None:
        separate = followed.num_separate if len(optimizers(optimizer)) > 1 else 0
        told |= {"idle_loss": followed.idle, "held_twice": followed.held_twice, "separate_losses": separate}
    return Opponents(**told)
