"""What is certain of a program, from one forward pass on one batch and its graph: see `doctor.facts.Facts`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import first_tensor
from trainability.doctor.error_line import error_line
from trainability.doctor.facts import Facts
from trainability.doctor.measure.affine_whole import affine_whole, is_told_by_a_line
from trainability.doctor.measure.all_pairs import all_pairs
from trainability.doctor.measure.as_drawn import frozen_head, has_only_scalars, is_fine_tuned, is_new
from trainability.doctor.measure.at_limit import all_at_limit
from trainability.doctor.measure.beside_outputs import broadcast_shape
from trainability.doctor.measure.box_corners import boxes_crossed
from trainability.doctor.measure.chances import Chances
from trainability.doctor.measure.constant_columns import constant_columns
from trainability.doctor.measure.crossed import crossed_outputs
from trainability.doctor.measure.custom_functions import wrong_backward
from trainability.doctor.measure.cut_paths import cut_paths
from trainability.doctor.measure.cut_rows import cut_rows
from trainability.doctor.measure.cut_steps import cut_steps
from trainability.doctor.measure.derivatives import Derivatives
from trainability.doctor.measure.dropout import dropout_facts, dropped_answers, dropped_state
from trainability.doctor.measure.empty_terms import empty_term
from trainability.doctor.measure.flat_examples import flat_examples
from trainability.doctor.measure.following import activations_by_layer
from trainability.doctor.measure.forward_pass import ForwardPass, callable_model
from trainability.doctor.measure.gradients import drawn_norms, gradient_facts, kept_by_gates, output_facts, recurrence
from trainability.doctor.measure.graph import loss_graph, managed_parameters
from trainability.doctor.measure.hidden_words import Attended
from trainability.doctor.measure.idle_terms import idle_term
from trainability.doctor.measure.ignored import behind_padding, drowned_by_padding, ignores_end
from trainability.doctor.measure.index_goals import IndexGoals
from trainability.doctor.measure.influence import (
    along_batch,
    comes_back_in_another_order,
    evaluation_noise,
    leakage,
    place_leakage,
)
from trainability.doctor.measure.kept_noise import kept_noise
from trainability.doctor.measure.kept_state import keeps_rows, shuffled_state
from trainability.doctor.measure.label_maps import smeared_edges
from trainability.doctor.measure.last_noise import last_noise
from trainability.doctor.measure.level_blind import level_blind
from trainability.doctor.measure.limited_answers import limited_answers
from trainability.doctor.measure.log_likelihoods import share_outside
from trainability.doctor.measure.log_scales import floored_log_scale
from trainability.doctor.measure.loose_tensors import with_loose_tensors
from trainability.doctor.measure.made_anew import made_anew
from trainability.doctor.measure.normed_answers import normed_answers
from trainability.doctor.measure.one_way_pairs import one_way_pairs
from trainability.doctor.measure.order_blind import order_blind
from trainability.doctor.measure.order_of_tokens import order_of_tokens
from trainability.doctor.measure.order_pooled import order_pooled
from trainability.doctor.measure.outer_products import OuterProducts, outer_facts
from trainability.doctor.measure.over_batch import meant_over_batch, softmax_over_batch, with_views
from trainability.doctor.measure.overwritten_losses import overwritten_losses
from trainability.doctor.measure.own_places import own_places
from trainability.doctor.measure.padded import beside_padding
from trainability.doctor.measure.pairing import Pairing
from trainability.doctor.measure.place_blind import place_blind
from trainability.doctor.measure.put_back import versions_kept
from trainability.doctor.measure.quantiles import turned_quantiles
from trainability.doctor.measure.questions import (
    Forward,
    Question,
    beside_others,
    questions_of_derivatives,
    questions_of_loss,
    questions_of_pairs,
    start,
)
from trainability.doctor.measure.running import idle_norms, running_facts, shared_statistics
from trainability.doctor.measure.same_within import same_within
from trainability.doctor.measure.series_ahead import series_ahead
from trainability.doctor.measure.sharp_attention import sharp_attention
from trainability.doctor.measure.shifted_labels import shifted_labels
from trainability.doctor.measure.soft_masks import soft_mask
from trainability.doctor.measure.stacked import stacked, traced
from trainability.doctor.measure.stored_batches import written_to
from trainability.doctor.measure.target_slope import target_slope
from trainability.doctor.measure.task_facts import task_facts
from trainability.doctor.measure.through_zero import through_zero
from trainability.doctor.measure.tokens import (
    Turned,
    asked_of_tokens,
    belong_together,
    examples_first,
    lengths_differ,
    stacked_second,
    steps_first,
    turned,
    turned_over,
)
from trainability.doctor.measure.transposed import transposed
from trainability.doctor.measure.underflow import underflow
from trainability.doctor.measure.unreached import unreached
from trainability.doctor.measure.unread_words import unread_words
from trainability.doctor.measure.workspace import workspace
from trainability.doctor.theory.trace import RECTIFIERS, plain_module


def look(
    model: nn.Module,
    batch: Any,
    forward: Forward,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    at_start: bool = True,
    wide: Any = None,
    pairs_itself: bool = False,
    batches: Iterable[Any] = (),
    turns: Iterable[set[str]] = (),
    seconds: float = math.inf,
) -> Facts:
    """Look at a model, a batch and a loss before training, and leave weights, gradients and random state as they are.

    Args:
        model: runs in train mode with dropout off. A compiled one is run plain.
        batch: of any structure, on the model's device, as the loop draws it.
        forward: of (model, batch), the loss: one number.
        optimizer: over its parameters; None leaves out what is about it.
        at_start: whether the weights are as initialised.
        wide: several batches joined, for what needs many examples; None takes `batch`.
        batches: of the training loader, for what is read off many of them.
        turns: names of the parameters of each of several optimizers.
        pairs_itself: whether `forward` chooses what is held against what, as a training step does and a plain loss does not.
        seconds: after which no further question is asked.

    Returns:
        The facts; `diagnose(Evidence(facts=...))` reads them. What fails is named in their `notes`.
    """
    began = time.perf_counter()
    with workspace(model, forward, batch) as place:
        plain, forward, batch = place.model, place.loss_fn, place.batch
        start(plain)
        seen, chances, derivatives, pairing = ForwardPass(plain, batch), Chances(), Derivatives(), Pairing()
        outer, attended, goals = OuterProducts(), Attended(t for _, t in seen.batch), IndexGoals()
        with torch.enable_grad(), seen, chances, derivatives, pairing, outer, attended, goals:
            loss = forward(plain, batch).sum()
        facts = Facts(loss=float(loss.detach()), **seen.facts(loss), **_optimizer_facts(plain, optimizer))
        facts = replace(facts, unread_words="hidden" if attended.found else facts.unread_words)
        facts = replace(facts, **dropout_facts(plain), **running_facts(plain, batches))
        facts = replace(facts, flat_derivative=derivatives.flat, draws_own=chances.acts, index_goals=goals.found)
        facts = replace(facts, cut_by=seen.cuts.of(loss))
        questions = _questions(model, plain, batch, forward, loss, seen, optimizer, at_start, batches, turns)
        questions |= _questions_of_formula(plain, batch, forward, loss, batches)
        questions |= questions_of_loss(model, plain, batch, forward, loss, seen, optimizer, batches)
        questions |= questions_of_derivatives(plain, batch, forward, loss, seen, derivatives, batches)
        if not (derivatives.with_graph or derivatives.without_graph):  # of points at which derivatives are taken
            questions["tensors that are no parameters"] = lambda known: {
                "graph": with_loose_tensors(known.graph, plain, plain_module(model), batch, forward, loss, optimizer)
            }
        questions["factors of all examples"] = lambda known: outer_facts(plain, batch, forward, outer)
        managed = _managed(model, optimizer)
        questions |= questions_of_pairs(plain, batch, forward, seen, chances, pairing, wide, batches, managed)
        questions["answers beside their targets"] = lambda known: {
            "misaligned": (beside_others(plain, batch, forward, seen, known) if pairs_itself else None)
            or transposed(plain, batch, forward)
        }
        # Behind what is said of outcomes, since hooks keep the last gradient that came through.
        questions["examples without a slope"] = lambda known: {
            "flat_examples": flat_examples(loss, seen),
            "underflow": underflow(loss, seen),
            "all_at_limit": known.no_weight_moves and all_at_limit(loss, seen),
        }
        notes = list(place.notes)
        for name, question in questions.items():
            if time.perf_counter() - began > seconds:
                notes.append(f"{name}: not asked, since {seconds:g} s are over")
                continue
            try:
                with versions_kept(plain):  # the graph of `loss` stays one that the next question can go back through
                    facts = replace(facts, **question(facts))
            except Exception as error:  # one question that fails leaves the others
                notes.append(f"{name}: {error_line(error)}")
    return replace(facts, notes=tuple(notes))


def _questions(
    model: nn.Module,
    plain: nn.Module,
    batch: Any,
    forward: Forward,
    loss: Tensor,
    seen: ForwardPass,
    optimizer: torch.optim.Optimizer | None,
    at_start: bool,
    batches: Iterable[Any],
    turns: Iterable[set[str]],
) -> dict[str, Question]:
    """What is asked of the graph and of each example's answer, by the words that a note says it in."""
    compared = seen.against[0] if seen.against is not None else None
    return {
        # Before other passes add more of it.
        "noise in the batch": lambda known: {
            "readings": replace(known.readings, overwritten=written_to(plain, batch, forward, seen, batches))
        },
        "the graph of the loss": lambda known: {
            "graph": loss_graph(loss, plain, optimizer, original=plain_module(model), makers=seen.makers, compared=compared)
        },
        "rows that are viewed": lambda known: {
            "graph": with_views(meant_over_batch(known.graph, seen.batch), seen.returned, seen.given.viewed)
        },
        "weights that the forward pass makes": lambda known: {"made_anew": made_anew(plain, batch, forward, loss)},
        "the kind of task": lambda known: task_facts(seen, float(loss.detach())),
        "gradients that are zero": lambda known: facts_of_pass(plain, loss, seen, at_start),
        "parameters without a gradient": lambda known: unreached(
            plain, batch, forward, loss, seen, _managed(model, optimizer), turns
        ),
        "weights behind a choice": lambda known: {"cut_paths": cut_paths(plain, batch, forward, loss, seen)},
        "units without a gradient": lambda known: {"cut_rows": cut_rows(plain, batch, forward)},
        "steps without a gradient": lambda known: {"cut_steps": cut_steps(plain, batch, forward, seen)},
        "what stands beside the outputs": lambda known: {
            **broadcast_shape(plain, batch, forward, known),
            **(crossed_outputs(plain, batch, forward) if known.broadcast_shape is None else {}),
            "all_pairs": all_pairs(plain, batch, forward, seen),
        },
        "quantiles and their levels": lambda known: {"turned_quantiles": turned_quantiles(plain, batch, forward, seen)},
        "statistics that are shared": lambda known: {"shared_statistics": shared_statistics(plain, batch, forward)},
        "states that are dropped": lambda known: {"dropped_state": dropped_state(plain, batch, forward)},
        "answers that are dropped": lambda known: {
            "dropped_answers": dropped_answers(plain, batch, forward, seen)
            if known.compares_returned or seen.against is not None
            else None,
        },
        "layers with nothing between": lambda known: stacked(plain, seen, loss, known),
        "functions that are affine": lambda known: {
            "readings": replace(
                known.readings,
                affine=affine_whole(plain, seen, loss, known, batches, _managed(model, optimizer)),
                told_by_a_line=is_told_by_a_line(seen, known, batches),
            )
        },
        "columns of one number": lambda known: {
            "constant_inputs": (*known.constant_inputs, *constant_columns(seen.given.columns, seen.batch, batches))
        },
        "tensors that say nothing in a batch": lambda known: {
            "readings": replace(known.readings, same_within=same_within(seen.batch, batches))
        },
        "states that are kept": lambda known: {
            "readings": replace(known.readings, keeps_rows=keeps_rows(plain, seen)),
            "shuffled_state": shuffled_state(plain, batch, forward, seen, batches),
        },
        "answers that change by themselves": lambda known: evaluation_noise(callable_model(seen), seen.inputs),
        "pairs in another order": lambda known: {
            "readings": replace(known.readings, one_way=one_way_pairs(callable_model(seen), seen.inputs, seen.target()))
        },
        "tensors that the model is given": lambda known: {
            "all_given": seen.all_given(),
            "readings": replace(known.readings, shrunk=seen.given.shrunk),
        },
        "answers that no weights give": lambda known: {
            "readings": replace(
                known.readings,
                normed_answers=normed_answers(seen),
                limited=limited_answers(seen),
                through_zero=through_zero(seen, batches),
            ),
        },
        "positions that attention does not see": lambda known: {"order_blind": order_blind(callable_model(seen), seen.inputs)},
        "places that do not count": lambda known: {
            "readings": replace(known.readings, place_blind=place_blind(seen, batches) if known.order_blind is None else None)
        },
        "attention that is sharp at the start": lambda known: {
            "readings": replace(
                known.readings, sharp_attention=sharp_attention(loss) if at_start else None, soft_mask=soft_mask(loss)
            )
        },
        "levels that do not count": lambda known: {"readings": replace(known.readings, level_blind=level_blind(seen, batches))},
        "an order that does not count": lambda known: {
            "readings": replace(
                known.readings,
                order_pooled=(order_pooled(seen, batches) or order_of_tokens(seen, batches))
                if known.order_blind is None
                else None,
            )
        },
        "examples that influence each other": lambda known: _of_the_batch(seen, loss, batches, known),
        "sequences whose end is not read": lambda known: {
            "ignores_end": ignores_end(plain, seen.inputs),
            "drowned": drowned_by_padding(plain, seen.inputs),
            "unread_words": known.unread_words or (unread_words(seen.calls[0]) if seen.calls else None),
            "readings": replace(known.readings, empty_ends=seen.given.empty.found, backward_ends=seen.given.backward.found),
        },
        "padding behind sequences": lambda known: {
            "readings": replace(
                known.readings,
                behind_padding=behind_padding(seen.inputs, seen.batch, seen.target()) if known.drowned is not None else None,
            )
        },
        "targets beside padding": lambda known: beside_padding(seen, loss),
        "labels of other steps": lambda known: {
            "readings": replace(known.readings, shifted=shifted_labels(seen, loss, batches))
        },
        "tokens that see later ones": lambda known: asked_of_tokens(seen, seen.calls[0], loss) if seen.calls else {},
        "series that see later values": lambda known: {
            "readings": replace(known.readings, ahead=series_ahead(seen, seen.calls[0], loss) if seen.calls else None)
        },
        "inputs that are their own targets": lambda known: {
            "readings": replace(known.readings, own=own_places(plain, batch, forward, seen))
        },
    }


def _questions_of_formula(
    plain: nn.Module, batch: Any, forward: Forward, loss: Tensor, batches: Iterable[Any]
) -> dict[str, Question]:
    """What is asked of the functions that a loss is made of, and of what it takes its targets for: fields of `Readings`."""
    asked: dict[str, tuple[str, Callable[[], Any]]] = {
        "functions of the program's own": ("wrong_backward", lambda: wrong_backward(plain, batch, forward, loss)),
        "losses that are computed and dropped": ("overwritten_losses", lambda: overwritten_losses(plain, batch, forward)),
        "terms without a slope": ("idle_term", lambda: idle_term(plain, batch, forward)),
        "terms of no numbers": ("empty_term", lambda: empty_term(plain, batch, forward, batches)),
        "norms that do nothing": ("idle_norms", lambda: idle_norms(plain, batch, forward)),
        "weights that multiply nothing": ("has_only_scalars", lambda: has_only_scalars(plain)),
        "weights that were trained before": ("is_fine_tuned", lambda: is_fine_tuned(plain)),
        "weights that were never trained": ("is_new", lambda: is_new(plain)),
        "a new layer that is frozen": ("frozen_head", lambda: frozen_head(plain, batch, forward)),
        "logarithms of scales": ("floored_log_scale", lambda: floored_log_scale(loss)),
        "targets of probabilities": ("odd_likelihood", lambda: share_outside(loss)),
        "edges in maps of classes": ("smeared_edges", lambda: smeared_edges(batch, batches)),
        "noise at the last time step": ("last_noise", lambda: last_noise(plain, batch, forward, batches)),
        "noise that stays the same": ("kept_noise", lambda: kept_noise(plain, batch, forward, batches)),
        "targets with a gradient": ("target_slope", lambda: target_slope(plain, batch, forward)),
        "corners of boxes": ("boxes_crossed", lambda: boxes_crossed(plain, batch, forward)),
    }

    def question(field: str, measure: Callable[[], Any]) -> Question:
        def ask(known: Facts) -> dict[str, Any]:
            start(plain)  # whatever mode the question before has left it in
            return {"readings": replace(known.readings, **{field: measure()})}

        return ask

    return {words: question(*each) for words, each in asked.items()}


def _of_the_batch(seen: ForwardPass, loss: Tensor, batches: Iterable[Any], known: Facts) -> dict[str, Any]:
    """What an example's output has from its neighbours and its place; nothing where examples lie along another dimension."""
    if steps_first(seen, loss) or turned_over(seen, batches) or belong_together(seen, batches):
        return {}
    if seen.given.reads_one_sequence(seen.inputs):
        readings = replace(known.readings, one_sequence=True, lengths_differ=lengths_differ(batches))
        if readings.lengths_differ:
            return {"readings": readings}
        known = replace(known, readings=readings)
    model, inputs = callable_model(seen), seen.inputs
    if stacked_second(seen, batches):
        found = leakage(Turned(model), turned(inputs, inputs[0].shape[:2]))
        return {"leakage": found, "stacked_second": True, "readings": known.readings}
    mixed = leakage(model, inputs)
    placed = place_leakage(model, inputs) if mixed is not None else None
    layer = along_batch(model, inputs, seen.given.lengths)
    unsure = layer is not None and not examples_first(seen, batches)
    found = {"leakage": mixed, "place_leakage": placed, "along_batch": layer, "maybe_steps_first": unsure}
    found["readings"] = known.readings
    if (mixed or placed) and all(tensor.is_floating_point() for tensor in seen.returned):  # it may return the order as well
        found["reordered"] = comes_back_in_another_order(model, inputs)
    if mixed:
        nodes = [tensor.grad_fn for tensor in seen.returned if tensor.grad_fn is not None]
        found["softmax_over_batch"] = softmax_over_batch(nodes, inputs, len(inputs[0]) if inputs[0].dim() else None)
    return found


def _optimizer_facts(model: nn.Module, optimizer: torch.optim.Optimizer | None) -> dict[str, Any]:
    formats = {p.dtype for p in model.parameters() if p.requires_grad}
    low = next((dtype for dtype in (torch.float16, torch.bfloat16) if formats == {dtype}), None)
    eps = [float(group["eps"]) for group in optimizer.param_groups if group.get("eps")] if optimizer is not None else []
    return {
        "low_precision": str(low).removeprefix("torch.") if low is not None else None,
        "eps": min(eps) if eps else None,
    }


def facts_of_pass(model: nn.Module, loss: Tensor, seen: ForwardPass, at_start: bool) -> dict[str, Any]:
    """Fields of `Facts` about gradients, outputs and what is alike in them."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    gradients = torch.autograd.grad(loss, [p for _, p in named], allow_unused=True, retain_graph=True)
    found = gradient_facts(model, {name: g for (name, _), g in zip(named, gradients, strict=True)})
    return found | {
        "stateless": seen.given.stateless(found["zero_gradient"]),
        **output_facts(seen.output, first_tensor(seen.inputs)),
        "biases_dead": _biases_dead(model, seen) if at_start and seen.calls else (),
        "recurrence": recurrence(model) if at_start else None,
        "kept_by_gates": kept_by_gates(model) if at_start else None,
        "drawn_norms": drawn_norms(model) if at_start else (),
    }


def _biases_dead(model: nn.Module, seen: ForwardPass) -> tuple[str, ...]:
    """Layers whose biases alone hold every unit below zero: with zero biases the same pass would let something through."""
    following = activations_by_layer(traced(model, seen), model)
    names = [name for name, after in following.items() if after in RECTIFIERS and name in seen.called]
    dead: list[str] = []

    def hook(name: str) -> Callable[..., None]:
        def look_at(module: nn.Module, args: Any, output: Any) -> None:
            bias = getattr(module, "bias", None)
            if isinstance(output, Tensor) and isinstance(bias, Tensor) and float(output.max()) <= 0 < -float(bias.max()):
                dead.append(name)

        return look_at

    handles = [model.get_submodule(name).register_forward_hook(hook(name)) for name in names]
    try:
        with torch.no_grad():
            callable_model(seen)(*seen.inputs)
    finally:
        for handle in handles:
            handle.remove()
    return tuple(dead)


def _managed(model: nn.Module, optimizer: torch.optim.Optimizer | None) -> set[str] | None:
    """Names of the parameters in the optimizer's groups; what is looked at is a copy, whose parameters are others."""
    if optimizer is None:
        return None
    ids = managed_parameters(optimizer)
    return {name for name, p in plain_module(model).named_parameters() if id(p) in ids}
