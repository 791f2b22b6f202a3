"""Losses that are divided by something that outputs can make zero: they pass from one infinity to the other there."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.graph import behind_views
from trainability.doctor.measure.instead import loss_of, returned_once
from trainability.doctor.measure.nodes import name_of, parents_of
from trainability.doctor.tasks import output_form

_FAR, _STEPS = 6.0, 48  # answers that are asked, in either direction, and how many
_HALVINGS = 14
_POSITIVE = ("SoftplusBackward", "ExpBackward", "ReluBackward", "AbsBackward", "SigmoidBackward")
_GROWN, _HIGH = 100.0, 100.0  # a jump that grows as its interval shrinks: 2 ** 14 times at a pole, not at all at a step


def pole(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], seen: ForwardPass) -> float | None:
    """Ask for a number for all outputs beside which the loss is plus infinity on one side, and minus infinity on the other.

    Args:
        model: returns one tensor whose values nothing limits, of one shape each time that it is called.
        batch: what it is asked.
        forward: of (model, batch), the loss.
        seen: the same pass.

    Returns:
        The number, from -6 to 6; None where there is none, and where the loss of some such answer is not finite, as of a loss
        that is divided by the answers' own spread.
    """
    output = seen.output
    if output is None or len(seen.returned) != 1 or output.numel() < 2 or not output.is_floating_point():
        return None
    if _is_positive(output) or output_form(output) != "values":
        return None
    if (own := returned_once(model, batch, forward, may_repeat=True)) is None:
        return None
    plain = own.tensors[0]

    def ask(value: float) -> float:
        with torch.no_grad():
            return float(loss_of(model, batch, forward, own, [torch.full_like(plain, value)]))

    asked = [(at, ask(at)) for at in (-_FAR + 2 * _FAR * (k + 0.37) / _STEPS for k in range(_STEPS))]
    if not all(math.isfinite(loss) for _, loss in asked):
        return None
    low, high = max(pairwise(asked), key=lambda pair: abs(pair[1][1] - pair[0][1]))
    first = abs(high[1] - low[1])
    for _ in range(_HALVINGS):
        at = (low[0] + high[0]) / 2
        middle = (at, ask(at))
        if not math.isfinite(middle[1]):
            break
        low, high = max(((low, middle), (middle, high)), key=lambda pair: abs(pair[1][1] - pair[0][1]))
    jump = abs(high[1] - low[1])
    turned = low[1] * high[1] < 0 and min(abs(low[1]), abs(high[1])) > _HIGH
    return (low[0] + high[0]) / 2 if turned and jump > _GROWN * first else None


def _is_positive(output: Tensor) -> bool:
    """Whether a function that is never negative made the outputs, and at most a positive number was added to them."""
    node = behind_views(output.grad_fn) if output.grad_fn is not None else None
    while node is not None and name_of(node) == "AddBackward" and len(parents_of(node)) == 1:
        node = behind_views(parents_of(node)[0])
    return node is not None and name_of(node) in _POSITIVE and bool((output > 0).all())
