"""What is certain of a watched loop, most of it from its first step: the facts that Monitor alone can know."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor import reading
from trainability.doctor.batches import first_tensor, tensors
from trainability.doctor.evidence import Sample
from trainability.doctor.facts import Facts, LossGraph, Unreached
from trainability.doctor.measure.as_drawn import has_only_scalars
from trainability.doctor.measure.at_limit import held_by
from trainability.doctor.measure.crossed import crossed_shapes
from trainability.doctor.measure.dropout import dropout_facts
from trainability.doctor.measure.gradients import gradient_facts, kept_by_gates, output_facts, recurrence
from trainability.doctor.measure.graph import loss_graph, managed_parameters
from trainability.doctor.measure.loop_loss import loss_facts
from trainability.doctor.measure.misread_edges import edges_of
from trainability.doctor.measure.optimizer_settings import maximises
from trainability.doctor.measure.over_batch import meant_over_batch, softmax_over_batch, viewed_across
from trainability.doctor.measure.rivals import Rivals
from trainability.doctor.measure.running import running_facts
from trainability.doctor.measure.sampling import LayerSampler
from trainability.doctor.measure.steps_first import steps_first_facts
from trainability.doctor.measure.summed_first import are_names, summed_first
from trainability.doctor.measure.switched_off import number_of
from trainability.doctor.measure.twins import parted
from trainability.doctor.readings import Readings

_MOST_WEIGHTS = 1 << 28  # that are compared with each other, row by row


def first_facts(
    loss: Tensor, model: nn.Module, optimizer: torch.optim.Optimizer | None, sampler: LayerSampler, *, at_start: bool
) -> Facts:
    """Look at the first loss, right after its backward pass.

    Args:
        loss: with its graph.
        model: the plain module.
        optimizer: over its parameters; None if unknown.
        sampler: that watches the step, before the end of its first pass.
        at_start: whether it is the first step of training.
    """
    graph = meant_over_batch(loss_graph(loss, model, optimizer, answer=sampler.answer_leaves), sampler.pairs.read())
    if graph is not None:
        graph = replace(graph, viewed_across=viewed_across(sampler.answer_nodes, sampler.batch_size))
        whole = next((call for call in sampler.tape.calls if call.is_whole), None) if sampler.tape is not None else None
        graph = replace(graph, held_by=held_by(t for _, t in tensors(whole.returned))) if whole is not None else graph
        if sampler.tape is not None:
            graph = replace(graph, heads=graph.heads or sampler.tape.given.viewed)
            own = {id(p) for p in model.parameters() if p.requires_grad}
            graph = replace(graph, constant_slope=sampler.tape.slopes.found(loss, own))
    of_loss = _facts_of_loss(loss, sampler, managed_parameters(optimizer) if optimizer is not None else None)
    return Facts(
        graph=graph,
        unreached=_all_of_them(graph, model, optimizer, sampler) if graph is not None else (),
        **dropout_facts(model),
        **running_facts(model),
        **_facts_of_inputs(sampler),
        readings=replace(
            of_loss.pop("readings", Readings()),
            edges=edges_of(model, sampler.tape.calls if sampler.tape else ()),
            ahead=sampler.tape.own_series.found if sampler.tape is not None else None,
            has_only_scalars=has_only_scalars(model),
            shrunk=sampler.tape.given.shrunk if sampler.tape is not None else None,
            empty_ends=sampler.tape.given.empty.found if sampler.tape is not None else None,
            backward_ends=sampler.tape.given.backward.found if sampler.tape is not None else None,
        ),
        made_anew=sampler.tape.made_inside.shapes() if sampler.tape is not None else (),
        cut_steps=sampler.tape.handed_on.num_reached(loss) if sampler.tape is not None else None,
        own_tokens=sampler.tape.own_tokens.fact() if sampler.tape is not None else None,
        flat_derivative=sampler.tape is not None and sampler.tape.has_flat,
        maximises=optimizer is not None and maximises(optimizer),
        draws_own=sampler.tape is not None and sampler.tape.draws_own,
        drawn_target=sampler.tape is not None and sampler.tape.draws_target,
        **(_facts_of_weights(model, sampler) if at_start else {}),
        **of_loss,
        **steps_first_facts(loss, sampler.watch.lengths, sampler.batch_size),
    )


def facts_so_far(
    model: nn.Module, sampler: LayerSampler, rivals: Rivals, first: Facts | None, samples: Iterable[Sample]
) -> dict[str, Any]:
    """What more steps than the first tell: fields of `Facts`, beside those of the first."""
    std, mean, *columns = (None, None) if sampler.first_input is None else sampler.first_input.tolist()
    is_on_a_line = first is not None and first.readings.on_a_line
    circular, class_numbers = sampler.pairs.on_a_line() if is_on_a_line else (None, None)
    return {
        "opposed": rivals.opposed,
        "switched_off": _going_on(sampler, first),
        "takes_turns": _takes_turns(samples),
        "shared": rivals.shared,
        "readings": replace(
            (first or Facts()).readings,
            overwritten=sampler.pairs.one_row() or (first or Facts()).readings.overwritten,
            coarse=sampler.pairs.coarse(),
            sorted_targets=sampler.pairs.sorted_targets(),
            circular=circular,
            class_numbers=class_numbers,
        ),
        "parted": parted(model, (first or Facts()).near_constant),
        "reaches_ahead": sampler.ahead.share,
        "input_std": std,
        "input_mean": mean,
        "input_columns": (columns[0], int(columns[1]), *columns[2:]) if columns else None,
    }


def _going_on(sampler: LayerSampler, first: Facts | None) -> tuple[str, int] | None:
    """A weight that the loss takes to zero, once it has moved there: the multipliers of a constraint go the other way."""
    found, start = first.switched_off if first is not None else None, sampler.own_number
    now = number_of(found[0], sampler.model) if found is not None else None
    if found is None or start is None or now is None:
        return None
    by = (now - start) * found[1]
    return found if bool((by >= 0).all()) and bool((by > 0).any()) else None


def _takes_turns(samples: Iterable[Sample]) -> bool:
    """Whether two steps train different layers, as those of two players that one optimizer holds: their losses are two."""
    trained = {
        frozenset(layer.name for layer in sample.layers if reading.is_matrix(layer) and layer.gradient_rms)
        for sample in samples
        if not sample.blind
    }
    return any(a and b and not a & b for a, b in itertools.combinations(trained, 2))


def is_cleared(graph: LossGraph | None, model: nn.Module, optimizer: torch.optim.Optimizer | None) -> bool:
    """Whether a step is about to be made in which nothing that the loss depends on has a gradient.

    Hooks of a parameter that run in the backward pass may step and clear it there: then this is meant.
    """
    managed, outside = managed_parameters(optimizer), set(graph.outside) if graph is not None else set()
    named = ((name, p) for name, p in model.named_parameters() if p.requires_grad and id(p) in managed)
    reached = [p for name, p in named if name not in outside]
    is_meant = any(getattr(p, "_post_accumulate_grad_hooks", None) for p in reached)
    return graph is not None and bool(reached) and not is_meant and all(p.grad is None for p in reached)


def _facts_of_inputs(sampler: LayerSampler) -> dict[str, Any]:
    if sampler.tape is None:
        return {}
    hides = {"unread_words": "hidden"} if sampler.tape.own_tokens.hides_words else {}
    whole = next((call for call in sampler.tape.calls if call.is_whole), None)
    answer, inputs = (whole.returned, whole.inputs) if whole is not None else (None, ())
    return sampler.tape.given.facts(answer, inputs) | hides | {"filled_extreme": sampler.tape.extremes.found}


def _facts_of_loss(loss: Tensor, sampler: LayerSampler, managed: set[int] | None) -> dict[str, Any]:
    found = loss_facts(sampler.tape, loss, managed, sampler.pairs.read(), answers=sampler.answer_nodes)
    found |= crossed_shapes(loss, sampler.answer_nodes)
    if (weight := found.get("switched_off")) is not None:
        sampler.own_number = number_of(weight[0], sampler.model)
    whole = next((call for call in sampler.tape.calls if call.is_whole), None) if sampler.tape is not None else None
    given = [t for call in (sampler.tape.calls if sampler.tape is not None else ()) for t in call.inputs]
    if are_names(given) and len(given[0]) == (size := summed_first(loss)):
        found["summed_first"] = size
    if whole is not None:
        over = softmax_over_batch(sampler.answer_nodes, whole.inputs, sampler.batch_size)
        found |= {"softmax_over_batch": over}
    is_grid = sampler.tape is not None and sampler.tape.crosses_given
    return found | {"broadcast_shape": None} if is_grid else found


def _all_of_them(
    graph: LossGraph, model: nn.Module, optimizer: torch.optim.Optimizer | None, sampler: LayerSampler
) -> tuple[Unreached, ...]:
    """What the optimizer trains of the model, where the loss reaches nothing of it, and no other loss has yet; else nothing."""
    managed, outside = managed_parameters(optimizer), set(graph.outside)
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    trained = {name: p for name, p in parameters.items() if id(p) in managed}
    if not set(trained) <= outside or any(p.grad is not None and bool(p.grad.any()) for p in trained.values()):
        return ()
    # The loss comes from this model, and by other layers: its turn has come.
    uncalled = sampler.watch.layers.keys() - sampler.watch.called
    is_passed_by = set(parameters) > outside and {name.rpartition(".")[0] for name in trained} <= uncalled
    return tuple(Unreached(name=name, reason="unused" if is_passed_by else "turn") for name in trained)


def _facts_of_weights(model: nn.Module, sampler: LayerSampler) -> dict[str, Any]:
    """Gradients that are zero, and what is alike in outputs and weights."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad and not nn.parameter.is_lazy(p)}
    is_sharded = any(hasattr(p, "to_local") for p in trained.values())
    if is_sharded or sum(p.numel() for p in trained.values()) > _MOST_WEIGHTS or any(p.is_complex() for p in trained.values()):
        return {}
    call = next((call for call in sampler.tape.calls if call.is_whole), None) if sampler.tape is not None else None
    with contextlib.suppress(Exception), torch.no_grad():  # some facts less
        found = gradient_facts(model, {name: p.grad for name, p in trained.items()})
        found["recurrence"], found["kept_by_gates"] = recurrence(model), kept_by_gates(model)
        if sampler.tape is not None:
            found["stateless"] = sampler.tape.given.stateless(found["zero_gradient"])
            found["padded_layer"] = sampler.tape.given.padded(model)
        return found | (output_facts(first_tensor(call.returned), first_tensor(call.inputs)) if call is not None else {})
    return {}
