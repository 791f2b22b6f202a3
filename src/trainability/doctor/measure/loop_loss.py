"""What is certain of a watched loop's loss, asked of it as the loop computed it: with other outputs, and other targets."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.batches import tensors
from trainability.doctor.facts import Facts
from trainability.doctor.measure.all_pairs import all_pairs
from trainability.doctor.measure.answer_rows import AnswerRows
from trainability.doctor.measure.boundless import boundless
from trainability.doctor.measure.censoring import censored_backwards
from trainability.doctor.measure.far_marks import far_mark
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.lighter import rare_lighter
from trainability.doctor.measure.maximised import maximised
from trainability.doctor.measure.moved import pairing_facts
from trainability.doctor.measure.one_sided import wanted_below
from trainability.doctor.measure.other_targets import is_on_a_line
from trainability.doctor.measure.pair_forces import pair_forces
from trainability.doctor.measure.pairing import Pairing
from trainability.doctor.measure.poles import pole
from trainability.doctor.measure.preferred import floorless, one_output, preferences
from trainability.doctor.measure.pulls import pulls
from trainability.doctor.measure.randomness import randomness_restored
from trainability.doctor.measure.replay import Replay
from trainability.doctor.measure.shown_places import asks_shown_rest
from trainability.doctor.measure.switched_off import switched_off
from trainability.doctor.measure.tape import Tape
from trainability.doctor.measure.task_facts import task_facts
from trainability.doctor.measure.tokens import asked_of_tokens
from trainability.doctor.measure.transposed import along, held_elsewhere
from trainability.doctor.measure.turned_terms import turned_term
from trainability.doctor.measure.unread import unread_below_zero, unread_targets
from trainability.doctor.measure.unread_zeros import unread_zeros
from trainability.doctor.measure.warned import unheard

# Of what a pass shows: what is about outputs, targets and loss, and not about the model's layers. Not whether outputs stand
# beside targets in another shape: that is meant where shares or distances are taken of such a table, as the graph tells.
_OF_THE_LOSS = (
    *("output_shape", "target_shape", "softened", "distilled"),
    *("ignored_class", "wrong_argument", "weighs_examples", "flat_function"),
    *("nonfinite_inputs", "output_rms", "target_rms", "target_mean", "target_below_zero", "target_outside_unit"),
    *("cut_at_zero", "cut_to_unit"),
)


def loss_facts(
    tape: Tape | None, loss: Any, managed: set[int] | None = None, read: Any = None, *, answers: Sequence[Any] = ()
) -> dict[str, Any]:
    """Ask the loss of a watched step.

    Args:
        tape: of the step; None where nothing was kept.
        loss: that the loop hands over.
        managed: ids of the parameters that the optimizer holds; None if unknown.
        read: what the loop's loader has yielded last; None if unknown.
        answers: nodes that made the model's outputs.

    Returns:
        Fields of `Facts`; none where it is not known how the loss was computed.
    """
    if tape is None:
        return {}
    tape.close()
    with (
        contextlib.suppress(Exception),
        randomness_restored(),
        torch.enable_grad(),
        unheard(),
    ):  # the loop has been told already
        replay = tape.read(loss)
        found = _asked(replay, managed, read, answers) if replay is not None else {}
        with contextlib.suppress(Exception):
            return found | (_of_rows(replay, tape.own_tokens.rows) if replay is not None else {})
        return found
    return {}


def _asked(replay: Replay, managed: set[int] | None, read: Any, answers: Sequence[Any]) -> dict[str, Any]:
    model, batch = replay.model, replay.batch
    seen, pairing = ForwardPass(model, batch), Pairing()
    with seen, pairing:
        loss = replay(model, batch)
    shown = seen.facts(loss)
    found = {name: shown[name] for name in _OF_THE_LOSS if name in shown} | {"loss": float(loss.detach())}
    known, moved = replace(Facts(), **found), replay.moved_by(managed) if managed is not None else None
    questions: tuple[Callable[[Facts], dict[str, Any]], ...] = (
        lambda known: task_facts(seen, float(loss.detach())),
        lambda known: preferences(model, batch, replay, seen),
        lambda known: {"readings": replace(known.readings, turned_term=turned_term(model, batch, replay, seen))},
        lambda known: {"one_output": one_output(model, batch, replay, seen) if known.task_loss is None else None},
        lambda known: {"floorless": floorless(model, batch, replay)},
        # A half of the batch cannot be asked: the outputs are those of the whole.
        lambda known: boundless(model, None, lambda model, _: replay(model, batch), is_one=known.task_loss is None),
        lambda known: {"switched_off": switched_off(model, None, lambda model, _: replay(model, batch))},
        lambda known: {"pole": pole(model, batch, replay, seen) if known.task_loss is None else None},
        lambda known: {"censored": censored_backwards(model, batch, replay, seen)},
        lambda known: {
            "negated_task": known.negated_task or maximised(list(model.leaves), loss, seen, lambda: replay(model, batch))
        },
        lambda known: {"all_pairs": all_pairs(model, batch, replay, seen, answers) if answers else None},
        lambda known: {"wanted_below": wanted_below(model, batch, replay, seen)},
        lambda known: {"unread_targets": unread_targets(model, batch, replay, seen)},
        lambda known: {
            "readings": replace(
                known.readings,
                unread_below=unread_below_zero(model, batch, replay, seen),
                far_mark=far_mark(model, batch, replay, seen, loss),
            )
        },
        lambda known: {"readings": replace(known.readings, lighter=rare_lighter(model, batch, replay, seen))},
        lambda known: {"readings": replace(known.readings, unread_zeros=unread_zeros(model, batch, replay, seen))},
        lambda known: {"readings": replace(known.readings, on_a_line=is_on_a_line(model, batch, replay, seen))},
        lambda known: pairing_facts(model, batch, replay, seen, pairing, read=() if read is None else read),
        lambda known: _of_tokens(seen, loss) or _of_values(seen, loss),
        lambda known: {"pulls": pulls(model, batch, replay)},
        lambda known: {"pair_forces": pair_forces(model, batch, partial(replay, calls_parts=True), seen, managed=moved)},
    )
    for question in questions:
        with contextlib.suppress(Exception):  # one question that fails leaves the others
            told = question(known)
            known, found = replace(known, **told), found | told
    return found


def _of_rows(replay: Replay, rows: AnswerRows) -> dict[str, Any]:
    """Whether places are held against other examples' targets, where it is known which answers are of which example."""
    if rows.found is None or rows.words is None:
        return {}
    (axis, way), found = rows.found, dict(tensors(replay.batch))
    count, asked = rows.words.shape[axis], (replay.model, replay.batch, replay)
    given = next(
        (name for name, t in found.items() if t.data_ptr() == rows.words.data_ptr() and t.shape == rows.words.shape), None
    )
    for target, t in found.items() if given is not None else ():
        if target != given and t.dim() > 1 and count in t.shape[:2]:
            told = held_elsewhere(*asked, (str(given), target), axis, rows.shape, lambda m: along(m, way, count))
            if told is not None:
                return {"misaligned": told}
    return {}


def _of_values(seen: ForwardPass, loss: Tensor) -> dict[str, Any]:
    """Where the loss asks for what was not hidden alone; of a model that returns one tensor, and no code beside it."""
    if len(seen.returned) != 1 or not seen.returned[0].requires_grad:
        return {}
    (slope,) = torch.autograd.grad(loss, seen.returned, allow_unused=True, retain_graph=True)
    shown = [x for x in seen.inputs if isinstance(x, Tensor)]
    targets = [t for _, t in seen.batch if not any(t.data_ptr() == x.data_ptr() for x in shown)]
    pairs = ((x, t) for x in shown for t in targets) if slope is not None else ()
    return {"asks_shown": "values"} if any(asks_shown_rest(x, t, slope != 0) for x, t in pairs) else {}


def _of_tokens(seen: ForwardPass, loss: Tensor) -> dict[str, Any]:
    """Where the loss asks for the next token; what the model reads cannot be asked."""
    found = asked_of_tokens(seen, seen.calls[0], loss) if seen.calls else {}
    return {name: told for name, told in found.items() if name in ("masked_answers", "asks_shown")}
