"""Targets that a training step makes by itself (noise, a returned value), beside what the model is given."""

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.randomness import randomness_restored
from trainability.doctor.measure.relation import FEWEST_EXAMPLES, relation
from trainability.doctor.measure.workspace import set_training


def made_relation(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> tuple[int, float] | None:
    """Compare what the model is given with what its outputs are to be, where that is no tensor of the batch.

    Args:
        model: called as a whole; its first call counts.
        batch: of 100 examples or more; None compares nothing.
        forward: of (model, batch), the loss: of a difference of outputs and targets.

    Returns:
        How many examples were compared, and how strong the relation is, see `relation`; None where there is no such target, it
        has not one row per example, or is set against a part of what the model returns.
    """
    if batch is None:
        return None
    seen = ForwardPass(model, batch)
    set_training(model, True)
    with contextlib.suppress(Exception), torch.enable_grad(), randomness_restored(), seen:  # a state of the batch's own size
        forward(model, batch)
    if seen.distance is None or seen.output is None:
        return None
    answer, target = seen.distance[1].detach(), seen.distance[2].detach()
    # What is picked from the outputs, as the value of an action, depends on more than the model is given.
    if answer.data_ptr() != seen.output.data_ptr() or answer.numel() != seen.output.numel():
        return None
    given = [t.detach() for t in seen.inputs if isinstance(t, Tensor)]
    if any(t.data_ptr() == target.data_ptr() for _, t in seen.batch) or not given or len(target) < FEWEST_EXAMPLES:
        return None
    if any(t.dim() == 0 or len(t) != len(target) for t in given):
        return None
    columns = [t.reshape(len(t), -1).float() for t in given if t.dim() <= 2]
    inputs = given[0] if given[0].dim() > 2 else torch.cat(columns, dim=1)
    found = relation(inputs.cpu(), target.cpu())
    return (found.num_examples, found.z) if found is not None else None
