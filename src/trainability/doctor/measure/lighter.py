"""A loss of yes and no that counts the examples of the rarer answer for less: it is asked, whatever its form."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.instead import pull, returned_once
from trainability.doctor.readings import RareLighter
from trainability.doctor.tasks import output_form

_RARE, _FEWEST = 0.25, 4  # share of the batch; examples of either answer
_LIGHTER = 1 / 4  # of the pull of the others; focal losses as published (alpha 0.25 of the rarer answer) have a third
_EVEN = 0.01  # of the pull, by which examples of one answer may differ
_UNDECIDED = {"values": 0.0, "probabilities": 0.5}
_ASIDE = {"values": 2.0, "probabilities": 0.3}  # to either side, where a loss that turns flat for far errors shows itself


def rare_lighter(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], seen: ForwardPass) -> RareLighter | None:
    """Compare how much an example of either answer pulls at its output, where all outputs are undecided.

    Args:
        model: returns one tensor with one number for each example, and is called once.
        batch: one target of 0 and 1 for each example.
        forward: of (model, batch), the loss.
        seen: the same pass with the model's own answers.

    Returns:
        None where neither answer is rare, or the rarer one pulls a quarter of what the other does or more; where examples of
        one answer do not all pull alike, or both answers not in opposite directions (a ranking, a loss of values); and where
        the rarer one is no lighter with outputs that lie on either side of the undecided one.
    """
    output, target = seen.output, seen.target()
    if output is None or len(seen.returned) != 1 or target is None or target.numel() != output.numel() != 1:
        return None
    if output.numel() != len(output) or not output.is_floating_point():
        return None
    y, form = target.detach().flatten().float(), output_form(output)
    if form not in _UNDECIDED or not bool(((y == 0) | (y == 1)).all()):
        return None
    share = float(y.mean())
    rare = y == (1.0 if share < 0.5 else 0.0)
    if float(rare.float().mean()) > _RARE or int(rare.sum()) < _FEWEST:
        return None
    own = returned_once(model, batch, forward)
    if own is None or len(own.tensors) != 1:
        return None
    ratios = []
    for aside in (0.0, _ASIDE[form], -_ASIDE[form]):
        # The same error of either answer: yes and no are as far from what they should be.
        answer = (_UNDECIDED[form] + aside * (2 * y - 1)).reshape(output.shape).to(output.dtype)
        slope = pull(model, batch, forward, own, answers=[answer])
        ratio = None if slope is None else _ratio(slope.flatten(), rare)
        if ratio is None or ratio > _LIGHTER:
            return None
        ratios.append(ratio)
    return RareLighter(label=int(y[rare][0]), share=float(rare.float().mean()), pull=statistics.median(ratios))


def _ratio(slope: Tensor, rare: Tensor) -> float | None:
    """The pull of an example of the rarer answer, over that of another; None where they are not comparable."""
    few, many = slope[rare], slope[~rare]
    for part in (few, many):
        if float(part.abs().max()) == 0 or float(part.max() - part.min()) > _EVEN * float(part.abs().max()):
            return None
    few_mean, many_mean = float(few.mean()), float(many.mean())
    return abs(few_mean / many_mean) if few_mean * many_mean < 0 else None
