"""Tensors with a gradient that modules hold as they are, and no optimizer: meant to be parameters, and are none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import batch_size, tensors
from trainability.doctor.graph_facts import LossGraph
from trainability.doctor.measure.filled import given_to_modules
from trainability.doctor.measure.graph import held_by_any_optimizer, leaves_of, managed_parameters, parameters_behind

_LEAST = 0.1  # of the trained numbers


def with_loose_tensors(
    graph: LossGraph | None,
    model: nn.Module,
    original: nn.Module,
    batch: Any,
    forward: Callable[[Any, Any], Tensor],
    loss: Tensor,
    optimizer: torch.optim.Optimizer | None,
) -> LossGraph | None:
    """Add to what no module registers the plain tensors that the loss depends on, and that are attributes of a module.

    Not what goes into layers, as points at which a program takes derivatives, nor first states, nor a few numbers beside many.

    Args:
        graph: of the loss.
        model: that was run.
        original: of which it is a copy.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.
        loss: with its graph.
        optimizer: over the original's parameters.
    """
    held = dict(_plain(model))
    reached = leaves_of(loss)[0] if graph is not None and held else set()
    found = {name: tensor for name, tensor in held.items() if id(tensor) in reached}
    if graph is None or not found:
        return graph
    given = given_to_modules(model, batch, forward) | {tensor.data_ptr() for _, tensor in tensors(batch)}
    rows = batch_size(batch)
    trained_numbers = sum(p.numel() for p in model.parameters() if p.requires_grad)
    names = [
        name
        for name, tensor in found.items()
        if tensor.data_ptr() not in given
        and tensor.numel() >= _LEAST * trained_numbers
        and bool((tensor != tensor.flatten()[0]).any())  # not a first state of zeros
        and not (tensor.dim() and len(tensor) == rows)  # nor numbers of each example
    ]
    trained = managed_parameters(optimizer) | held_by_any_optimizer()
    own = {name: {id(t), *map(id, parameters_behind(t))} for name, t in _plain(original, made=True)}
    untrained = [name for name in names if own.get(name, set()).isdisjoint(trained)]
    return replace(
        graph,
        unregistered=(*graph.unregistered, *names),
        unregistered_untrained=graph.unregistered_untrained + len(untrained),
    )


def _plain(model: nn.Module, *, made: bool = False) -> Iterator[tuple[str, Tensor]]:
    """Plain tensors with a gradient that are attributes of modules; with what is made of other tensors, which a copy is not."""
    for prefix, module in model.named_modules():
        for name, value in vars(module).items():
            if type(value) is Tensor and (value.is_leaf or made) and value.requires_grad:
                yield f"{prefix}.{name}".lstrip("."), value
