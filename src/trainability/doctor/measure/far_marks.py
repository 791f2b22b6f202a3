"""Marks of yes and no that are not 0 and 1, such as the 0 and 255 of a mask file, under a loss that takes probabilities."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.graph import behind_views
from trainability.doctor.measure.instead import exchanged
from trainability.doctor.measure.nodes import SAME_VALUES, name_of, within
from trainability.doctor.measure.randomness import randomness_restored, seed_torch

_SUMS = ("Add", "Sub", "Mul", "Div", "Sum", "Mean", "Neg", "Rsub", "Pow", "Log", "Clamp", "Sqrt", "Stack", "Cat")
_BOUNDS = ("SigmoidBackward", "SoftmaxBackward")
_SMALLEST, _SURE = 1.5, 30.0  # a mark; a logit
_MOST_NODES = 400
_OF_NOTHING = 1e-3  # of the loss

Forward = Callable[[Any, Any], Tensor]


def far_mark(model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass, loss: Tensor) -> float | None:
    """Look for targets of two values, 0 and a number above 1, beside outputs that a sigmoid or softmax bounds.

    Args:
        model: runs as it is.
        batch: of any structure.
        forward: of (model, batch), the loss.
        seen: a pass.
        loss: of that pass.

    Returns:
        The number. None of other targets, where the loss only asks which of both values a target has, or is a multiple of them,
        and where the right answers, at the scale of the targets or of 0 and 1, cost nothing.
    """
    if loss.grad_fn is None or seen.output is None or not _takes_probabilities(loss):
        return None
    shown = {t.data_ptr() for _, t in tensors(seen.inputs)}
    of_this_size = [t for _, t in seen.batch if t.data_ptr() not in shown and t.numel() == seen.output.numel()]
    if len(of_this_size) != 1:  # weights and masks are no targets
        return None
    (target,) = of_this_size
    low, high = (float(x) for x in target.detach().double().aminmax()) if target.dtype != torch.bool else (0.0, 1.0)
    if low != 0 or not high >= _SMALLEST or not bool(((target == 0) | (target == high)).all()):
        return None
    marks = (target != 0).to(target.dtype)
    cost = partial(_cost, model, batch, forward, target)
    own, scaled, double = (float(cost(each)) for each in (target.clone(), marks, 2 * target))
    is_multiple = abs(double - 2 * own) < _OF_NOTHING * abs(own)  # of what the targets are, as of rewards and costs
    if own == scaled or is_multiple:
        return None
    as_given, given = (t.reshape(seen.output.shape).to(seen.output.dtype) for t in (target, marks))
    answers = [as_given, given if _is_bounded(seen.output) else _SURE * (2 * given - 1)]
    met = min(abs(float(cost(target.clone(), answer=answer))) for answer in answers)
    return high if met > _OF_NOTHING * abs(own) else None


def _is_bounded(output: Tensor) -> bool:
    return output.grad_fn is not None and name_of(behind_views(output.grad_fn)) in _BOUNDS


def _takes_probabilities(loss: Tensor) -> bool:
    """Whether the loss is made of a sigmoid or softmax by sums, products and quotients."""
    found = within([loss.grad_fn], (*SAME_VALUES, *_SUMS), _MOST_NODES)
    return any(name_of(node) in _BOUNDS for node in found)


def _cost(
    model: nn.Module, batch: Any, forward: Forward, target: Tensor, other: Tensor, answer: Tensor | None = None
) -> Tensor:
    """The loss with another target, and, if one is given, with another answer of the model."""
    with contextlib.ExitStack() as stack:
        if answer is not None:
            handle = model.register_forward_hook(lambda module, args, output: answer if isinstance(output, Tensor) else output)
            stack.callback(handle.remove)
        stack.enter_context(torch.no_grad())
        stack.enter_context(randomness_restored())
        seed_torch(0)
        return forward(model, exchanged(batch, target, other)).sum()
