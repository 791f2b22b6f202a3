"""What is asked of a loss, of derivatives in it, and of what stands beside what: by the words that a note says it in."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import first_tensor
from trainability.doctor.facts import Facts
from trainability.doctor.measure.asked_words import asked_words
from trainability.doctor.measure.boundless import boundless
from trainability.doctor.measure.censoring import censored_backwards
from trainability.doctor.measure.chances import Chances
from trainability.doctor.measure.changing_words import changing_words
from trainability.doctor.measure.circular import circular
from trainability.doctor.measure.class_numbers import class_numbers
from trainability.doctor.measure.code_price import code_price
from trainability.doctor.measure.code_spread import code_spread
from trainability.doctor.measure.collated import separated
from trainability.doctor.measure.conditions import counted_condition
from trainability.doctor.measure.copying import can_copy
from trainability.doctor.measure.cut_targets import cut_from_targets
from trainability.doctor.measure.data_shares import balanced_twice, shares_of_data
from trainability.doctor.measure.densities import of_densities
from trainability.doctor.measure.derivatives import Derivatives, has_constant_slope, is_constant_term
from trainability.doctor.measure.drawn_teacher import drawn_teacher
from trainability.doctor.measure.ends import ends_facts, holds_two_states
from trainability.doctor.measure.far_marks import far_mark
from trainability.doctor.measure.filled import filled
from trainability.doctor.measure.filled_ends import filled_ends
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.free_weights import free_weights
from trainability.doctor.measure.given_twice import given_twice
from trainability.doctor.measure.largest_output import largest_output
from trainability.doctor.measure.lighter import rare_lighter
from trainability.doctor.measure.made_targets import made_relation
from trainability.doctor.measure.maximised import maximised
from trainability.doctor.measure.mean_slopes import mean_slopes
from trainability.doctor.measure.mirrored import mirrored_alone
from trainability.doctor.measure.misread_edges import misread_edges
from trainability.doctor.measure.moved import pairing_facts
from trainability.doctor.measure.named_values import named_numbers, named_values
from trainability.doctor.measure.negatives import company
from trainability.doctor.measure.neighbour_sums import neighbour_sums
from trainability.doctor.measure.node_order import node_order
from trainability.doctor.measure.one_sided import out_of_reach, wanted_below
from trainability.doctor.measure.one_target import one_target
from trainability.doctor.measure.own_scale import scaled_by_themselves
from trainability.doctor.measure.pair_forces import pair_forces
from trainability.doctor.measure.pairing import Pairing, misaligned, mispaired
from trainability.doctor.measure.partners import joined_to_others
from trainability.doctor.measure.penalties import weight_penalty
from trainability.doctor.measure.places import misplaced
from trainability.doctor.measure.poles import pole
from trainability.doctor.measure.preferred import floorless, one_output, preferences
from trainability.doctor.measure.prior_weight import prior_weight
from trainability.doctor.measure.pulls import pulls
from trainability.doctor.measure.randomness import randomness_restored, seed_torch
from trainability.doctor.measure.rare_marks import rare_marks
from trainability.doctor.measure.redrawn import redrawn
from trainability.doctor.measure.rounding import rounded_gradient
from trainability.doctor.measure.same_after import same_after
from trainability.doctor.measure.same_members import same_members
from trainability.doctor.measure.same_words import same_words
from trainability.doctor.measure.sequences import mixed_sequences
from trainability.doctor.measure.short_length import short_length, short_pass
from trainability.doctor.measure.shown_places import asks_shown_values
from trainability.doctor.measure.shuffled_apart import pair_relation
from trainability.doctor.measure.sliding import sliding
from trainability.doctor.measure.slope_signs import falls_with_slopes
from trainability.doctor.measure.slopes import turned_gradients
from trainability.doctor.measure.solved import solved_by_constant
from trainability.doctor.measure.summed_first import summed_over_batch
from trainability.doctor.measure.switched_off import maximised_by, switched_off
from trainability.doctor.measure.teacher_mode import teacher_mode
from trainability.doctor.measure.turned_apart import turned_apart
from trainability.doctor.measure.turned_terms import turned_term
from trainability.doctor.measure.two_targets import scores_of_others
from trainability.doctor.measure.unequal_terms import unequal_terms
from trainability.doctor.measure.unreached_nodes import edges_lead_away
from trainability.doctor.measure.unread import unread_below_zero, unread_targets
from trainability.doctor.measure.unread_zeros import unread_zeros
from trainability.doctor.measure.unsorted import unsorted_times
from trainability.doctor.measure.volumes import volume_against, volume_missing
from trainability.doctor.measure.workspace import set_training
from trainability.doctor.pair_facts import Misaligned, Pulls
from trainability.doctor.theory.trace import plain_module

_MOST_BATCHES = 16  # of which pairs count together

Forward = Callable[[Any, Any], Tensor]
Question = Callable[[Facts], dict[str, Any]]  # of what is known so far; fields of `Facts`


def questions_of_loss(
    model: nn.Module,
    plain: nn.Module,
    batch: Any,
    forward: Forward,
    loss: Tensor,
    seen: ForwardPass,
    optimizer: torch.optim.Optimizer | None,
    batches: Iterable[Any],
) -> dict[str, Question]:
    """What is asked of the loss, by the words that a note says it in."""
    cost = float(loss.detach())
    return {
        "what the loss prefers": lambda known: {
            **preferences(plain, batch, forward, seen),
            "one_output": one_output(plain, batch, forward, seen) if known.task_loss is None else None,
        },
        "what each term prefers": lambda known: {
            "readings": replace(known.readings, turned_term=turned_term(plain, batch, forward, seen))
            if known.prefers_wrong is None
            else known.readings
        },
        "losses without a floor": lambda known: {
            "floorless": floorless(plain, batch, forward),
            "readings": replace(known.readings, free_weights=free_weights(plain, batch, forward)),
            **boundless(plain, batch, forward, is_one=known.task_loss is None),
            "pole": pole(plain, batch, forward, seen) if known.task_loss is None else None,
        },
        "targets without a slope": lambda known: {
            "readings": replace(known.readings, cut_targets=cut_from_targets(plain, batch, forward, seen))
        },
        "weights of terms": lambda known: {
            "switched_off": switched_off(plain, batch, forward, maximised_by(optimizer, plain_module(model)))
        },
        "gradients beside slopes": lambda known: {
            "turned_gradients": turned_gradients(plain, batch, forward)
            if known.graph is not None and known.graph.has_opaque_parts
            else ()
        },
        "examples that are scaled by themselves": lambda known: {"own_scale": scaled_by_themselves(first_tensor(seen.inputs))},
        "inputs that are targets": lambda known: {"can_copy": can_copy(plain, seen)},
        "one target for several outputs": lambda known: {"one_target": one_target(plain, batch, forward, seen.beside_column)},
        "states that stand still": lambda known: {"same_after": same_after(plain, batch, forward, batches)},
        "actions that nothing reads": lambda known: {"largest_output": largest_output(plain, batch, forward)},
        "ends of episodes": lambda known: (
            ends_facts(plain, batch, forward, batches) if seen.asks_itself or holds_two_states(batch) else {}
        ),
        "conditions that count": lambda known: {"counted_condition": counted_condition(plain, batch, forward, seen)},
        "gradients that are rounding": lambda known: {"rounded_gradient": rounded_gradient(plain, batch, forward, cost)},
        "terms that are sums and means": lambda known: {
            "unequal_terms": _unequal_terms(plain, batch, forward) if seen.adds_terms else None
        },
        "weights and their prior": lambda known: {
            "graph": known.graph and replace(known.graph, prior_weight=prior_weight(plain, batch, forward, batches))
        },
        "members that are one": lambda known: {
            "readings": replace(known.readings, same_members=same_members(plain, batch, forward))
        },
        "orders of nodes, and directions of edges": lambda known: {
            "readings": replace(
                known.readings,
                node_order=node_order(plain, batch, forward),
                edges_away=edges_lead_away(plain, batch, forward),
            )
        },
        "sums over neighbours": lambda known: {
            "readings": replace(known.readings, neighbour_sums=neighbour_sums(plain, batch, forward))
        },
        "codes and what they cost": lambda known: {
            "code_price": code_price(plain, batch, forward),
            "readings": replace(known.readings, code_spread=code_spread(plain, batch, forward)),
        },
        "volumes of a flow": lambda known: {
            "volume_against": volume_against(seen, loss),
            "volume_missing": volume_missing(plain, batch, forward, seen),
            **of_densities(plain, batch, forward, batches),
        },
        "marks of yes and no": lambda known: {
            "readings": replace(known.readings, far_mark=far_mark(plain, batch, forward, seen, loss))
        },
        "targets that go around": lambda known: {
            "readings": replace(known.readings, circular=circular(plain, batch, forward, seen, batches))
        },
        "numbers of classes": lambda known: {
            "readings": replace(known.readings, class_numbers=class_numbers(plain, batch, forward, seen, batches))
        },
        "times without an end": lambda known: {"censored": censored_backwards(plain, batch, forward, seen)},
        "terms that the loss wants larger": lambda known: {
            "negated_task": known.negated_task
            or maximised([p for p in plain.parameters() if p.requires_grad], loss, seen, lambda: forward(plain, batch))
        },
    }


def questions_of_derivatives(
    plain: nn.Module,
    batch: Any,
    forward: Forward,
    loss: Tensor,
    seen: ForwardPass,
    derivatives: Derivatives,
    batches: Iterable[Any],
) -> dict[str, Question]:
    """What is asked of derivatives that a loss takes, and of what it sums over examples."""
    questions: dict[str, Question] = {}
    if derivatives.without_graph:
        questions["derivatives without a graph"] = lambda known: {
            "constant_term": is_constant_term(plain, batch, forward),
            "graph": known.graph and replace(known.graph, constant_slope=has_constant_slope(derivatives, plain, loss)),
        }
    if derivatives.with_graph:
        questions["penalties on slopes"] = lambda known: {"falls_with_slopes": falls_with_slopes(plain, batch, forward)}
        questions["derivatives of a mean"] = lambda known: {
            "graph": known.graph and replace(known.graph, mean_slope=mean_slopes(batch, plain, forward))
        }
    questions["answers that are one number"] = lambda known: (
        _solved(plain, batch, forward, seen, batches, derivatives) if derivatives.with_graph or seen.asks_itself else {}
    )
    questions["sums over examples"] = lambda known: {"summed_first": summed_over_batch(plain, batch, forward, loss, batches)}
    return questions


def questions_of_pairs(
    plain: nn.Module,
    batch: Any,
    forward: Forward,
    seen: ForwardPass,
    chances: Chances,
    pairing: Pairing,
    wide: Any,
    batches: Iterable[Any],
    managed: set[str] | None,
) -> dict[str, Question]:
    """What is asked of what stands beside what: outputs, targets, places, other examples."""
    return {
        "targets out of reach": lambda known: {
            "out_of_reach": out_of_reach(plain, batch, forward, seen),
            "wanted_below": wanted_below(plain, batch, forward, seen),
        },
        "targets that the loss does not read": lambda known: {
            "unread_targets": unread_targets(plain, batch, forward, seen),
            "readings": replace(known.readings, unread_below=unread_below_zero(plain, batch, forward, seen)),
        },
        "values that are hidden": lambda known: (
            {"asks_shown": "values"} if known.asks_shown is None and asks_shown_values(plain, batch, forward) else {}
        ),
        "scores beside labels": lambda known: {"scores_of_others": scores_of_others(plain, batch, forward, batches)},
        "targets that were filled in": lambda known: {"filled_targets": filled(plain, batch, forward, batches)},
        "targets that were filled up": lambda known: {
            "readings": replace(known.readings, filled_ends=filled_ends(plain, batch, forward))
        },
        "examples in each other's sequences": lambda known: {"mixed_sequences": mixed_sequences(plain, batch, forward, seen)},
        "answers beside their places": lambda known: {"misplaced": misplaced(plain, batch, forward, seen)},
        "which target is beside which example": lambda known: pairing_facts(plain, batch, forward, seen, pairing),
        "targets that the step makes": lambda known: {
            "made_relation": made_relation(plain, wide, forward),
            "redrawn": redrawn(plain, batch, forward),
        },
        "outcomes that the loss makes likelier": lambda known: _chances_facts(plain, batch, forward, chances),
        "pairs that the loss pulls together": lambda known: {"pulls": _pulls(plain, batch, wide, forward, batches)},
        "rows that the loader joins": lambda known: {"separated": separated(batches)},
        "images that the loader mirrors": lambda known: {"mirrored_alone": mirrored_alone(batches)},
        "images and targets that are read again": lambda known: {
            "readings": replace(known.readings, apart=turned_apart(plain, batch, forward, batches))
        },
        "sums along the batch": lambda known: {
            "readings": replace(known.readings, unsorted=unsorted_times(plain, batch, forward))
        },
        "the length of the data": lambda known: {
            "readings": replace(known.readings, short=short_length(batches)),
            "short_pass": short_pass(batches),
        },
        "batches that overlap": lambda known: {"readings": replace(known.readings, sliding=sliding(batches))},
        "names that are taken for amounts": lambda known: {
            "readings": replace(
                known.readings,
                named=named_values(seen, batches),
                numbered=named_numbers(seen, batches),
                asked=asked_words(seen),
            )
        },
        "words all through the data": lambda known: {
            "readings": replace(known.readings, changing=changing_words(seen, batches))
        },
        "shares that stand as weights": lambda known: {
            **shares_of_data(seen, batches),
            "readings": replace(known.readings, balanced_twice=balanced_twice(seen, batches)),
        },
        "what an error on the rarer answer costs": lambda known: {
            "readings": replace(known.readings, lighter=rare_lighter(plain, batch, forward, seen))
        },
        "answers to a target of zero": lambda known: {
            "readings": replace(known.readings, unread_zeros=unread_zeros(plain, batch, forward, seen))
        },
        "places that are rarely marked": lambda known: {
            "readings": replace(known.readings, rare_marks=rare_marks(plain, batch, forward, seen, batches))
        },
        "tensors that are given twice": lambda known: {
            "readings": replace(known.readings, twice=given_twice(plain, batch, forward))
        },
        "tables that are given the same words": lambda known: {
            "readings": replace(known.readings, twice=known.readings.twice or same_words(plain, batch, forward))
        },
        "terms of the weights alone": lambda known: {
            "readings": replace(known.readings, weight_penalty=weight_penalty(plain, batch, forward))
        },
        "networks outside the model": lambda known: {
            "readings": replace(
                known.readings,
                drawn_teacher=drawn_teacher(plain, batch, forward),
                teacher_mode=teacher_mode(plain, batch, forward),
            )
        },
        "edges in memory order": lambda known: {
            "readings": replace(known.readings, edges=misread_edges(plain, batch, forward))
        },
        "names that keep company": lambda known: {"company": company(plain, batch, forward, batches)},
        "what the loss wants of pairs": lambda known: {
            "pair_forces": pair_forces(plain, batch, forward, seen, managed=managed)
        },
        "pairs that were shuffled apart": lambda known: {
            "pair_relation": pair_relation(plain, batch, forward, known.pair_forces, batches)
        },
    }


def start(model: nn.Module) -> None:
    """Train mode, with dropout off."""
    set_training(model, True)
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.training = False


def _solved(
    plain: nn.Module, batch: Any, forward: Forward, seen: ForwardPass, batches: Iterable[Any], derivatives: Derivatives
) -> dict[str, Any]:
    by = derivatives.with_graph
    found = solved_by_constant(plain, batch, forward, seen, batches, differentiates=by)
    return {"solved_by": found, "differentiates": by and found is not None}


def _unequal_terms(model: nn.Module, batch: Any, forward: Forward) -> tuple[float, int] | None:
    start(model)  # a model that draws a code in training alone has other terms in evaluation
    return unequal_terms(model, batch, forward)


def beside_others(model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass, facts: Facts) -> Misaligned | None:
    """Answers beside targets of other examples, or pairs of other examples."""
    if facts.pair_forces is not None and facts.pair_forces.views_pulled:
        return mispaired(model, batch, forward)
    found = misaligned(model, seen.last.model, batch, forward) if seen.last is not None else None
    return found or joined_to_others(model, batch, forward)


def _pulls(model: nn.Module, batch: Any, wide: Any, forward: Forward, batches: Iterable[Any]) -> Pulls | None:
    if wide is not None:
        with contextlib.suppress(Exception):  # a state of the batch's own size
            return pulls(model, wide, forward)
    return pulls(model, batch, forward, itertools.islice(batches, _MOST_BATCHES))


def _chances_facts(model: nn.Module, batch: Any, forward: Forward, chances: Chances) -> dict[str, Any]:
    """What is said of distributions; whether a draw matters is asked with other values in its place, and the same numbers."""
    drawn = chances.unasked()
    if drawn is not None:
        losses = []
        set_training(model, True)
        for shift in (0.0, 0.0, 1.0):
            with torch.enable_grad(), randomness_restored(), Chances(shift=shift):
                seed_torch(0)
                losses.append(float(forward(model, batch).detach().sum()))
        drawn = drawn if losses[0] == losses[1] != losses[2] else None
    return {"drawn": drawn, **chances.facts()}
