"""What is certain of a program, from one forward pass on one batch and its graph: see `doctor.facts.Facts`."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import first_tensor
from trainability.doctor.error_line import error_line
from trainability.doctor.facts import Facts
from trainability.doctor.measure.all_pairs import all_pairs
from trainability.doctor.measure.at_limit import all_at_limit
from trainability.doctor.measure.beside_outputs import broadcast_shape
from trainability.doctor.measure.boundless import boundless
from trainability.doctor.measure.censoring import censored_backwards
from trainability.doctor.measure.chances import Chances
from trainability.doctor.measure.code_price import code_price
from trainability.doctor.measure.collated import separated
from trainability.doctor.measure.conditions import counted_condition
from trainability.doctor.measure.copying import can_copy
from trainability.doctor.measure.crossed import crossed_outputs
from trainability.doctor.measure.cut_paths import cut_paths
from trainability.doctor.measure.cut_rows import cut_rows
from trainability.doctor.measure.cut_steps import cut_steps
from trainability.doctor.measure.densities import volume_turned
from trainability.doctor.measure.derivatives import Derivatives, has_constant_slope, is_constant_term
from trainability.doctor.measure.dropout import dropout_facts, dropped_state
from trainability.doctor.measure.ends import ends_facts
from trainability.doctor.measure.filled import filled
from trainability.doctor.measure.flat_examples import flat_examples
from trainability.doctor.measure.following import activations_by_layer
from trainability.doctor.measure.forward_pass import ForwardPass, callable_model
from trainability.doctor.measure.gradients import drawn_norms, gradient_facts, output_facts, recurrence
from trainability.doctor.measure.graph import loss_graph, managed_parameters
from trainability.doctor.measure.hidden_words import Attended
from trainability.doctor.measure.ignored import drowned_by_padding, ignores_end
from trainability.doctor.measure.index_goals import IndexGoals
from trainability.doctor.measure.influence import along_batch, evaluation_noise, leakage, place_leakage
from trainability.doctor.measure.kept_state import shuffled_state
from trainability.doctor.measure.largest_output import largest_output
from trainability.doctor.measure.loose_tensors import with_loose_tensors
from trainability.doctor.measure.made_anew import made_anew
from trainability.doctor.measure.made_targets import made_relation
from trainability.doctor.measure.maximised import maximised
from trainability.doctor.measure.mean_slopes import mean_slopes
from trainability.doctor.measure.mirrored import mirrored_alone
from trainability.doctor.measure.misread_edges import misread_edges
from trainability.doctor.measure.moved import pairing_facts
from trainability.doctor.measure.negatives import company
from trainability.doctor.measure.one_sided import out_of_reach, wanted_below
from trainability.doctor.measure.one_target import one_target
from trainability.doctor.measure.order_blind import order_blind
from trainability.doctor.measure.outer_products import OuterProducts, outer_product
from trainability.doctor.measure.over_batch import with_views
from trainability.doctor.measure.own_scale import scaled_by_themselves
from trainability.doctor.measure.padded import beside_padding
from trainability.doctor.measure.pair_forces import pair_forces
from trainability.doctor.measure.pairing import Pairing, misaligned, mispaired
from trainability.doctor.measure.partners import joined_to_others
from trainability.doctor.measure.places import misplaced
from trainability.doctor.measure.poles import pole
from trainability.doctor.measure.preferred import floorless, one_output, preferences
from trainability.doctor.measure.prior_weight import prior_weight
from trainability.doctor.measure.pulls import pulls
from trainability.doctor.measure.quantiles import turned_quantiles
from trainability.doctor.measure.randomness import randomness_restored
from trainability.doctor.measure.redrawn import redrawn
from trainability.doctor.measure.rounding import rounded_gradient
from trainability.doctor.measure.running import running_facts, shared_statistics
from trainability.doctor.measure.same_after import same_after
from trainability.doctor.measure.sequences import mixed_sequences
from trainability.doctor.measure.series_ahead import series_ahead
from trainability.doctor.measure.short_length import short_length
from trainability.doctor.measure.shown_places import asks_shown_values
from trainability.doctor.measure.slopes import turned_gradients
from trainability.doctor.measure.solved import solved_by_constant
from trainability.doctor.measure.stacked import stacked, traced
from trainability.doctor.measure.summed_first import summed_over_batch
from trainability.doctor.measure.switched_off import maximised_by, switched_off
from trainability.doctor.measure.task_facts import task_facts
from trainability.doctor.measure.tokens import asked_of_tokens, examples_first, steps_first, turned_over
from trainability.doctor.measure.transposed import transposed
from trainability.doctor.measure.turned_apart import turned_apart
from trainability.doctor.measure.two_targets import scores_of_others
from trainability.doctor.measure.underflow import underflow
from trainability.doctor.measure.unequal_terms import unequal_terms
from trainability.doctor.measure.unreached import unreached
from trainability.doctor.measure.unread import unread_targets
from trainability.doctor.measure.unread_words import unread_words
from trainability.doctor.measure.unsorted import unsorted_times
from trainability.doctor.measure.volumes import volume_against, volume_missing
from trainability.doctor.measure.workspace import set_training, workspace
from trainability.doctor.pair_facts import Misaligned, Pulls
from trainability.doctor.theory.trace import RECTIFIERS, plain_module

_MOST_BATCHES = 16  # of which pairs count together

Forward = Callable[[Any, Any], Tensor]
Question = Callable[[Facts], dict[str, Any]]  # of what is known so far; fields of `Facts`


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

    Returns:
        The facts; `diagnose(Evidence(facts=...))` reads them. What fails is named in their `notes`.
    """
    with workspace(model, forward, batch) as place:
        plain, forward, batch = place.model, place.loss_fn, place.batch
        start(plain)
        seen, chances, derivatives, pairing = ForwardPass(plain, batch), Chances(), Derivatives(), Pairing()
        outer, attended, goals = OuterProducts(), Attended(t for _, t in seen.batch), IndexGoals()
        with torch.enable_grad(), seen, chances, derivatives, pairing, outer, attended, goals:
            loss = forward(plain, batch).sum()
        facts = Facts(loss=float(loss.detach()), **seen.facts(), **_optimizer_facts(plain, optimizer))
        facts = replace(facts, unread_words="hidden" if attended.found else facts.unread_words)
        facts = replace(facts, **dropout_facts(plain), **running_facts(plain, batches))
        facts = replace(facts, flat_derivative=derivatives.flat, draws_own=chances.acts, index_goals=goals.found)
        questions = _questions(model, plain, batch, forward, loss, seen, optimizer, at_start, batches, turns)
        if derivatives.without_graph:
            questions["derivatives without a graph"] = lambda known: {
                "constant_term": is_constant_term(plain, batch, forward),
                "graph": known.graph and replace(known.graph, constant_slope=has_constant_slope(derivatives, plain, loss)),
            }
        if derivatives.with_graph:
            questions["derivatives of a mean"] = lambda known: {
                "graph": known.graph and replace(known.graph, mean_slope=mean_slopes(batch, plain, forward))
            }
        if not (derivatives.with_graph or derivatives.without_graph):  # of points at which derivatives are taken
            questions["tensors that are no parameters"] = lambda known: {
                "graph": with_loose_tensors(known.graph, plain, plain_module(model), batch, forward, loss, optimizer)
            }
        questions["answers that are one number"] = lambda known: (
            _solved(plain, batch, forward, seen, batches, derivatives) if derivatives.with_graph or seen.asks_itself else {}
        )
        questions["sums over examples"] = lambda known: {
            "summed_first": summed_over_batch(plain, batch, forward, loss, batches)
        }
        questions["factors of all examples"] = lambda known: {"outer_product": outer_product(plain, batch, forward, outer)}
        managed = _managed(model, optimizer)
        questions |= _questions_of_pairs(plain, batch, forward, seen, chances, pairing, wide, batches, managed)
        questions["answers beside their targets"] = lambda known: {
            "misaligned": (_misaligned(plain, batch, forward, seen, known) if pairs_itself else None)
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
            try:
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
    """What is asked of the graph, of each example's answer and of the loss, by the words that a note says it in."""
    cost, compared = float(loss.detach()), seen.against[0] if seen.against is not None else None
    return {
        "the graph of the loss": lambda known: {
            "graph": loss_graph(loss, plain, optimizer, original=plain_module(model), makers=seen.makers, compared=compared)
        },
        "rows that are viewed": lambda known: {"graph": with_views(known.graph, seen.returned, seen.given.viewed)},
        "weights that the forward pass makes": lambda known: {"made_anew": made_anew(plain, batch, forward, loss)},
        "the kind of task": lambda known: task_facts(seen, cost),
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
        "layers with nothing between": lambda known: stacked(plain, seen),
        "states that are kept": lambda known: {"shuffled_state": shuffled_state(plain, batch, forward, seen, batches)},
        "answers that change by themselves": lambda known: evaluation_noise(callable_model(seen), seen.inputs),
        "tensors that the model is given": lambda known: {"all_given": seen.all_given()},
        "positions that attention does not see": lambda known: {"order_blind": order_blind(callable_model(seen), seen.inputs)},
        "examples that influence each other": lambda known: _of_the_batch(seen, loss, batches),
        "sequences whose end is not read": lambda known: {
            "ignores_end": ignores_end(plain, seen.inputs),
            "drowned": drowned_by_padding(plain, seen.inputs),
            "unread_words": known.unread_words or (unread_words(seen.calls[0]) if seen.calls else None),
        },
        "targets beside padding": lambda known: beside_padding(seen, loss),
        "tokens that see later ones": lambda known: asked_of_tokens(seen, seen.calls[0], loss) if seen.calls else {},
        "series that see later values": lambda known: {
            "readings": replace(known.readings, ahead=series_ahead(seen, seen.calls[0], loss) if seen.calls else None)
        },
        "what the loss prefers": lambda known: {
            **preferences(plain, batch, forward, seen),
            "one_output": one_output(plain, batch, forward, seen) if known.task_loss is None else None,
        },
        "losses without a floor": lambda known: {
            "floorless": floorless(plain, batch, forward),
            **boundless(plain, batch, forward, is_one=known.task_loss is None),
            "pole": pole(plain, batch, forward, seen) if known.task_loss is None else None,
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
        "ends of episodes": lambda known: ends_facts(plain, batch, forward, batches) if seen.asks_itself else {},
        "conditions that count": lambda known: {"counted_condition": counted_condition(plain, batch, forward, seen)},
        "gradients that are rounding": lambda known: {"rounded_gradient": rounded_gradient(plain, batch, forward, cost)},
        "terms that are sums and means": lambda known: {
            "unequal_terms": _unequal_terms(plain, batch, forward) if seen.adds_terms else None
        },
        "weights and their prior": lambda known: {
            "graph": known.graph and replace(known.graph, prior_weight=prior_weight(plain, batch, forward, batches))
        },
        "codes and what they cost": lambda known: {"code_price": code_price(plain, batch, forward)},
        "volumes of a flow": lambda known: {
            "volume_against": volume_against(seen, loss),
            "volume_missing": volume_missing(plain, batch, forward, seen),
            "volume_turned": volume_turned(plain, batch, forward),
        },
        "times without an end": lambda known: {"censored": censored_backwards(plain, batch, forward, seen)},
        "terms that the loss wants larger": lambda known: {
            "negated_task": known.negated_task or maximised([p for p in plain.parameters() if p.requires_grad], loss, seen)
        },
    }


def _solved(
    plain: nn.Module, batch: Any, forward: Forward, seen: ForwardPass, batches: Iterable[Any], derivatives: Derivatives
) -> dict[str, Any]:
    by = derivatives.with_graph
    found = solved_by_constant(plain, batch, forward, seen, batches, differentiates=by)
    return {"solved_by": found, "differentiates": by and found is not None}


def _of_the_batch(seen: ForwardPass, loss: Tensor, batches: Iterable[Any]) -> dict[str, Any]:
    """What an example's output has from its neighbours and its place; nothing where examples lie along another dimension."""
    if steps_first(seen, loss) or turned_over(seen, batches):
        return {}
    model, inputs = callable_model(seen), seen.inputs
    mixed = leakage(model, inputs)
    placed = place_leakage(model, inputs) if mixed is not None else None
    layer = along_batch(model, inputs, seen.given.lengths)
    unsure = layer is not None and not examples_first(seen, batches)
    return {"leakage": mixed, "place_leakage": placed, "along_batch": layer, "maybe_steps_first": unsure}


def _questions_of_pairs(
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
        "targets that the loss does not read": lambda known: {"unread_targets": unread_targets(plain, batch, forward, seen)},
        "values that are hidden": lambda known: (
            {"asks_shown": "values"} if known.asks_shown is None and asks_shown_values(plain, batch, forward) else {}
        ),
        "scores beside labels": lambda known: {"scores_of_others": scores_of_others(plain, batch, forward, batches)},
        "targets that were filled in": lambda known: {"filled_targets": filled(plain, batch, forward, batches)},
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
        "the length of the data": lambda known: {"readings": replace(known.readings, short=short_length(batches))},
        "edges in memory order": lambda known: {
            "readings": replace(known.readings, edges=misread_edges(plain, batch, forward))
        },
        "names that keep company": lambda known: {"company": company(plain, batch, forward, batches)},
        "what the loss wants of pairs": lambda known: {
            "pair_forces": pair_forces(plain, batch, forward, seen, managed=managed)
        },
    }


def start(model: nn.Module) -> None:
    """Train mode, with dropout off."""
    set_training(model, True)
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.training = False


def _unequal_terms(model: nn.Module, batch: Any, forward: Forward) -> tuple[float, int] | None:
    start(model)  # a model that draws a code in training alone has other terms in evaluation
    return unequal_terms(model, batch, forward)


def _misaligned(model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass, facts: Facts) -> Misaligned | None:
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
                torch.manual_seed(0)
                losses.append(float(forward(model, batch).detach().sum()))
        drawn = drawn if losses[0] == losses[1] != losses[2] else None
    return {"lowered": chances.lowered(), "drawn": drawn, "credited": chances.credit.found()}


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
