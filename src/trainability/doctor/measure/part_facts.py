"""What is certain of several models that train together, from one run of the loop's body in which no optimizer steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.error_line import error_line
from trainability.doctor.facts import Facts
from trainability.doctor.measure.boundless import boundless
from trainability.doctor.measure.conditions import drawn_beside, one_class_asked
from trainability.doctor.measure.data_shares import shares_of_data
from trainability.doctor.measure.derivatives import Derivatives, is_constant_term
from trainability.doctor.measure.dropout import dropout_facts
from trainability.doctor.measure.ends import ends_facts
from trainability.doctor.measure.facts import facts_of_pass
from trainability.doctor.measure.forward_pass import ForwardPass, callable_model
from trainability.doctor.measure.graph import bounded_twice
from trainability.doctor.measure.influence import leakage
from trainability.doctor.measure.outer_products import OuterProducts, outer_facts
from trainability.doctor.measure.overwritten_losses import overwritten_losses
from trainability.doctor.measure.pairing import misaligned
from trainability.doctor.measure.questions import Forward, start
from trainability.doctor.measure.slope_signs import falls_with_slopes
from trainability.doctor.measure.task_facts import task_facts
from trainability.doctor.measure.tokens import asked_of_tokens
from trainability.doctor.measure.unreached import unreached
from trainability.doctor.measure.whole_step import Parts
from trainability.doctor.measure.workspace import workspace

# What is known of a body that calls backward several times, as on losses against each other.
_OF_ANY_LOSS = (
    "constant_inputs",
    "filled_extreme",
    "lone_word",
    "one_row",
    "zeros_beside_state",
    "nonfinite_inputs",
    "wrong_argument",
    "looks_up",
    "takes_sine",
    "loud_column",
)


def look_at_parts(
    model: Parts,
    batch: Any,
    forward: Forward,
    losses: list[Tensor],
    batches: Iterable[Any] = (),
    turns: Iterable[set[str]] = (),
) -> Facts:
    """Look at several models that train together, as `look` does at one; what several losses leave open is not asked.

    Args:
        model: the models; run in train mode with dropout off.
        batch: of any structure, on their device.
        forward: of (model, batch): the sum of what the body calls `backward` on.
        losses: what it was called on, refilled by `forward`.
        batches: of the training loader, for what is read off many of them.
        turns: as for `unreached`, in addition to those of the models.

    Returns:
        The facts. What fails is named in their `notes`.
    """
    with workspace(model, forward, batch) as place:
        plain, forward, batch = place.model, place.loss_fn, place.batch
        start(plain)
        seen, derivatives, outer = ForwardPass(plain, batch), Derivatives(), OuterProducts()
        with torch.enable_grad(), seen, derivatives, outer:
            loss = forward(plain, batch)
        alone = len(losses) == 1
        found = seen.facts(loss)
        facts = Facts(
            loss=float(loss.detach()) if alone else None,
            **{name: value for name, value in found.items() if alone or name in _OF_ANY_LOSS},
            **dropout_facts(plain),
        )
        looks: dict[str, Callable[[], dict[str, Any]]] = {
            "gradients that are zero": lambda: facts_of_pass(plain, loss, seen, at_start=False),
            "functions in front of the losses": lambda: {"graph": bounded_twice(losses, seen.makers)},
            "factors of all examples": lambda: outer_facts(plain, batch, forward, outer),
            "classes that are asked for": lambda: {"one_class_asked": one_class_asked(plain, batch, forward)},
            "classes of the batch's examples": lambda: {"drawn_beside": drawn_beside(plain, batch, forward)},
            "losses that are computed and dropped": lambda: {
                "readings": replace(facts.readings, overwritten_losses=overwritten_losses(plain, batch, forward))
            },
            "ends of episodes": lambda: ends_facts(plain, batch, forward, batches) if seen.asks_itself else {},
            "shares that stand as weights": lambda: shares_of_data(seen, batches),
            "parameters without a gradient": lambda: unreached(
                plain, batch, forward, loss, seen, None, (*_names_of_parts(plain), *turns)
            ),
        }
        if derivatives.without_graph:
            looks["derivatives without a graph"] = lambda: {"constant_term": is_constant_term(plain, batch, forward)}
        if derivatives.with_graph:
            looks["penalties on slopes"] = lambda: {"falls_with_slopes": falls_with_slopes(plain, batch, forward)}
        if alone:
            looks |= {
                "the kind of task": lambda: task_facts(seen, float(loss.detach())),
                "examples that influence each other": lambda: {"leakage": _most_leakage(seen)},
                "losses without a floor": lambda: boundless(plain, batch, forward, is_one=False),
                "tokens that see later ones": lambda: _tokens_of_parts(seen, loss),
                "answers beside their targets": lambda: {
                    "misaligned": misaligned(plain, seen.last.model, batch, forward) if seen.last is not None else None
                },
            }
        notes = list(place.notes)
        for name, question in looks.items():
            try:
                facts = replace(facts, **question())
            except Exception as error:
                notes.append(f"{name}: {error_line(error)}")
    return replace(facts, constant_output=False, notes=tuple(notes))


def _names_of_parts(model: nn.Module) -> list[set[str]]:
    """Names of the trained parameters of each model."""
    return [
        {f"{part}.{name}" for name, p in module.named_parameters() if p.requires_grad}
        for part, module in model.named_children()
    ]


def _most_leakage(seen: ForwardPass) -> float | None:
    found = [leakage(callable_model(call), call.inputs) for call in seen.calls]
    return max((each for each in found if each is not None), default=None)


def _tokens_of_parts(seen: ForwardPass, loss: Tensor) -> dict[str, Any]:
    return next((found for call in seen.calls if (found := asked_of_tokens(seen, call, loss))), {})
