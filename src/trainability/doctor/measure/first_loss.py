"""What Monitor is told by the first loss that it gets: its graph, and what the model says of itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainability.doctor.facts import Facts, LossGraph, Unreached
from trainability.doctor.measure.crossed import crossed_shapes
from trainability.doctor.measure.dropout import dropout_facts
from trainability.doctor.measure.graph import loss_graph, managed_parameters
from trainability.doctor.measure.running import running_facts
from trainability.doctor.measure.sampling import LayerSampler
from trainability.doctor.measure.steps_first import steps_first_facts


def facts_of_loss(loss: Tensor, model: nn.Module, optimizer: torch.optim.Optimizer | None, sampler: LayerSampler) -> Facts:
    """Read the graph of a loss, and the model's settings.

    Args:
        loss: one number, with its graph, after `backward`.
        model: the plain module.
        optimizer: over its parameters.
        sampler: has seen the forward pass.
    """
    graph = loss_graph(loss, model, optimizer, answer=sampler.answer_leaves)
    return Facts(
        graph=graph,
        unreached=_all_of_them(graph, model, optimizer) if graph is not None else (),
        **dropout_facts(model),
        **running_facts(model),
        **crossed_shapes(loss, sampler.answer_nodes),
        **steps_first_facts(loss, sampler.watch.lengths, sampler.batch_size),
    )


def _all_of_them(graph: LossGraph, model: nn.Module, optimizer: torch.optim.Optimizer | None) -> tuple[Unreached, ...]:
    """What the optimizer trains of the model, where the loss reaches nothing of it, and no other loss has yet; else nothing."""
    managed, outside = managed_parameters(optimizer), set(graph.outside)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad and id(p) in managed}
    if not set(trained) <= outside or any(p.grad is not None and bool(p.grad.any()) for p in trained.values()):
        return ()
    return tuple(Unreached(name=name, reason="turn") for name in trained)
