"""Two inputs of each example, which a loss wants near each other and far from others': whether they belong together at all."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import num_batches, tensors
from trainability.doctor.facts import Facts
from trainability.doctor.measure.filled import read_together
from trainability.doctor.measure.instead import exchanged, loss_of, pull, returned_once
from trainability.doctor.measure.partners import asked_outputs
from trainability.doctor.measure.relation import FEWEST_EXAMPLES, are_of_numbers, is_mask, related_pairs
from trainability.doctor.measure.workspace import set_training
from trainability.doctor.pair_facts import PairForces, PairRelation

_FEWEST = 8  # examples of a batch
_SAME = 1e-4  # of the largest value: rounding
_LEVELS = (0.0, -1.0, 1.0, -3.0, 3.0, -10.0, 10.0)  # scores that are the same for all pairs

Forward = Callable[[Any, Any], Tensor]


def pair_relation(
    model: nn.Module, batch: Any, forward: Forward, forces: PairForces | None, batches: Iterable[Any]
) -> PairRelation | None:
    """Compare the two inputs of pairs with each other, and with those of pairs that are shuffled.

    Args:
        model: scores all pairs of a batch, (n, n), or makes an embedding of either input of an example, of which the loss does.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.
        forces: what the loss wants of each two embeddings, where it is a function of them.
        batches: of the training loader.

    Returns:
        None where the loss does not want each example's own pair nearer, and all others further apart, where inputs are not two
        that are each embedded by itself, and where there are too few examples.
    """
    named = [(name, t) for name, t in tensors(batch) if t.dim() > 1 and not is_mask(t)]
    if len(named) < 2 or len({len(t) for _, t in named}) != 1 or len(named[0][1]) < _FEWEST:
        return None
    modes = [(module, module.training) for module in model.modules()]
    try:
        wanted = _of_embeddings(model, batch, forward, named) if _wants_own(forces) else None
        sides, cost = wanted or _of_scores(model, batch, forward, named) or ({}, None)
    finally:
        for module, mode in modes:
            module.training = mode
    if set(sides.values()) != {0, 1}:
        return None
    one, other = (max((n for n in sides if sides[n] == k), key=lambda n: dict(named)[n].numel()) for k in (0, 1))
    return compared(batches, one, other, cost)


def compared(batches: Iterable[Any], one: str, other: str, cost: float | None = None) -> PairRelation | None:
    """How far the two inputs of a loader's pairs go with each other; the names of both, as `tensors` gives them."""
    rows = read_together(batches, [one, other])
    if rows is None or len(rows[one]) < FEWEST_EXAMPLES:
        return None
    z = related_pairs(rows[one], rows[other])
    if z is None:
        return None
    return PairRelation(
        one=one,
        other=other,
        num_examples=len(rows[one]),
        z=z,
        is_plain=are_of_numbers(rows[one]) and are_of_numbers(rows[other]),
        constant_loss=cost,
        num_batches=num_batches(batches),
    )


def with_held_out_pairs(facts: Facts | None, validation: Iterable[Any] | None) -> Facts | None:
    """Add to certain facts, where training's pairs were compared, how far those of validation go with each other."""
    known = facts.pair_relation if facts is not None else None
    if facts is None or known is None or validation is None:
        return facts
    with contextlib.suppress(Exception):  # batches of validation may be of another form
        if (found := compared(validation, known.one, known.other)) is not None:
            return replace(facts, pair_relation=replace(known, held_out_z=found.z))
    return facts


def _wants_own(forces: PairForces | None) -> bool:
    """Whether a loss of two embeddings of each example wants these nearer, and those of unlike examples further apart."""
    if forces is None or forces.num_blocks != 2 or not forces.views_pulled:
        return False
    return forces.num_pulled == forces.num_examples // 2 <= forces.num_pushed


def _of_embeddings(
    model: nn.Module, batch: Any, forward: Forward, named: list[tuple[str, Tensor]]
) -> tuple[dict[str, int], float | None] | None:
    """Which of two disjoint sets of outputs each tensor of the batch goes into."""
    set_training(model, False)
    own = asked_outputs(model, batch, forward)
    into: dict[str, frozenset[int]] = {}
    for name, tensor in named:
        now = asked_outputs(model, exchanged(batch, tensor, tensor.roll(1, dims=0)), forward)
        if own is None or now is None or [t.shape for t in now[0]] != [t.shape for t in own[0]]:
            return None
        into[name] = frozenset(k for k, (a, b) in enumerate(zip(own[0], now[0], strict=True)) if not _is_same(a, b))
    kinds = list(dict.fromkeys(kind for kind in into.values() if kind))
    if len(kinds) != 2 or kinds[0] & kinds[1]:
        return None
    return {name: kinds.index(kind) for name, kind in into.items() if kind}, None


def _of_scores(
    model: nn.Module, batch: Any, forward: Forward, named: list[tuple[str, Tensor]]
) -> tuple[dict[str, int], float | None] | None:
    """Which tensor of the batch gives the rows, and which the columns, of scores whose diagonal the loss wants apart."""
    set_training(model, False)
    own, count = returned_once(model, batch, forward), len(named[0][1])
    places = [k for k, t in enumerate(own.tensors) if t.shape == (count, count)] if own is not None else []
    if own is None or not places or not own.tensors[places[0]].is_floating_point():
        return None
    place, scores = places[0], own.tensors[places[0]]
    answers = [torch.zeros_like(t) if t.shape == scores.shape else t for t in own.tensors]
    wanted = pull(model, batch, forward, own, answers=answers, place=place)
    if wanted is None or not _is_of_diagonal(wanted):
        return None
    sides: dict[str, int] = {}
    for name, tensor in named:
        now = returned_once(model, exchanged(batch, tensor, tensor.roll(1, dims=0)), forward)
        if now is None or now.tensors[place].shape != scores.shape:
            return None
        if _is_same(now.tensors[place], scores):  # the model does not take it
            continue
        moved = [k for k in (0, 1) if _is_same(now.tensors[place], scores.roll(1, dims=k))]
        if len(moved) != 1:
            return None
        sides[name] = moved[0]
    losses = [
        float(loss_of(model, batch, forward, own, [torch.full_like(t, c) if t.shape == scores.shape else t for t in answers]))
        for c in _LEVELS
    ]
    return sides, min((loss for loss in losses if math.isfinite(loss)), default=None)


def _is_of_diagonal(wanted: Tensor) -> bool:
    """Whether each number of the diagonal is to change to the other side than all others, some of which are to."""
    own, rest = wanted.diagonal(), wanted.clone().fill_diagonal_(0.0)
    sign = torch.sign(own[0])
    return bool(sign != 0) and bool((own * sign > 0).all()) and bool((rest * sign <= 0).all()) and bool(rest.any())


def _is_same(one: Tensor, other: Tensor) -> bool:
    return float((one - other).abs().max()) <= _SAME * float(other.abs().max().clamp(min=1e-30))
