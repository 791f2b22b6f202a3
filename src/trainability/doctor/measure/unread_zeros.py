"""A loss of yes and no that no answer to a no changes, as a hinge whose labels are 0 and 1: it is asked, whatever its form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.instead import pull, returned_once
from trainability.doctor.tasks import output_form

_FEWEST = 8  # examples of either answer
# Far and near, on either side of undecided: a margin that is kept has no gradient, and one that is broken has.
_ASKED = {"values": (-8.0, -2.0, -0.5, 0.0, 0.5, 2.0, 8.0), "probabilities": (0.02, 0.2, 0.5, 0.8, 0.98)}


def zeros_are_unread(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], seen: ForwardPass) -> bool:
    """Whether the loss has no gradient at any answer to an example whose target is 0, and some at one whose target is 1.

    Args:
        model: returns one tensor with one number for each example, and is called once.
        batch: one target of 0 and 1 for each example.
        forward: of (model, batch), the loss.
        seen: the same pass with the model's own answers.

    Returns:
        False, too, where answers of which all are alike, or drawn, cannot be put in the place of the model's own.
    """
    output, target = seen.output, seen.target()
    if output is None or len(seen.returned) != 1 or target is None or target.numel() != output.numel() != 1:
        return False
    if output.numel() != len(output) or not output.is_floating_point() or output_form(output) not in _ASKED:
        return False
    y = target.detach().flatten().float()
    if not bool(((y == 0) | (y == 1)).all()) or min(int((y == 0).sum()), int((y == 1).sum())) < _FEWEST:
        return False
    own = returned_once(model, batch, forward)
    if own is None or len(own.tensors) != 1:
        return False
    choices = torch.tensor(_ASKED[output_form(output)])
    drawn = choices[torch.randint(len(choices), (len(y),), generator=torch.Generator().manual_seed(0))]
    is_felt = torch.zeros(len(y), dtype=torch.bool)
    for answer in (*(value.expand(len(y)) for value in choices), drawn):
        slope = pull(model, batch, forward, own, answers=[answer.reshape(output.shape).to(output)])
        if slope is None:
            return False
        is_felt |= slope.flatten().cpu() != 0
    y = y.cpu()
    return bool(is_felt[y == 1].all()) and not bool(is_felt[y == 0].any())
