"""Logarithms of what has underflowed: a density that is exactly zero, and an epsilon beside it that is all there is left."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.graph import nodes_of_loss
from trainability.doctor.measure.nodes import SAME_VALUES, name_of

MOST = 0.8  # share of the logarithms
_FEWEST = 8
_LARGEST_EPSILON = 1e-2
_NOTHING = 1e-3  # of an epsilon, that is lost beside it
# Functions whose result is above zero, but for rounding, and that there is a logarithm of.
_MADE_BY = {
    "ExpBackward": ("exp", "_saved_result"),
    "SoftmaxBackward": ("softmax", "_saved_result"),
    "SafeSoftmaxBackward": ("softmax", "_saved_result"),
    "SigmoidBackward": ("sigmoid", "_saved_result"),
    "ProdBackward": ("prod", "_saved_result"),
}
_HANDS_ON = ("Add", "Sum", "Mean", "Mul", "Div", "Clamp", "ClampMin", "Maximum", "Gather", "Expand", *SAME_VALUES)
_MOST_NODES = 200


def underflow(loss: Tensor, seen: ForwardPass) -> tuple[str, float, float] | None:
    """Look at each logarithm that the loss takes of numbers held above zero by an epsilon.

    Args:
        loss: with its graph, which is kept.
        seen: the same pass.

    Returns:
        What made the zeros ("exp", "softmax", "sigmoid", "prod"), the share of the logarithms that are of the epsilon alone,
        and the epsilon; None where they are less than four fifths of those whose result the loss goes by, and where what is
        beside the epsilon is zero by itself, as a distance, an empty bin or a target is.
    """
    nodes = [node for node in nodes_of_loss(loss.grad_fn, through_bounds=True) if name_of(node) == "LogBackward"]
    answers = [tensor for tensor in seen.returned if tensor.requires_grad]
    if not nodes or not answers:
        return None
    arrived: dict[int, Tensor] = {}

    def kept(place: int) -> Any:
        return lambda gradients: arrived.__setitem__(place, gradients[0].detach())

    handles = [node.register_prehook(kept(place)) for place, node in enumerate(nodes)]
    try:
        torch.autograd.grad(loss, answers, allow_unused=True, retain_graph=True)
    finally:
        for handle in handles:
            handle.remove()
    for place, node in enumerate(nodes):
        wanted, given = arrived.get(place), node._saved_self.detach()
        if wanted is None or wanted.shape != given.shape:
            continue
        asked = given[wanted != 0].float()
        if asked.numel() < _FEWEST or not bool((asked > 0).all()):
            continue
        epsilon = float(asked.min())
        share = float((asked == epsilon).float().mean())
        if epsilon <= _LARGEST_EPSILON and share >= MOST and (made := _zeros_of(node, epsilon)) is not None:
            return made, share, epsilon
    return None


def _zeros_of(node: Any, epsilon: float) -> str | None:
    """The nearest function behind a logarithm that rounds most of its results to zero, or to nothing beside an epsilon."""
    seen, todo = {id(node): node}, [above for above, _ in node.next_functions]
    while todo and len(seen) < _MOST_NODES:
        above = todo.pop(0)
        if above is None or id(above) in seen:
            continue
        seen[id(above)] = above
        name = name_of(above)
        if name in _MADE_BY:
            word, saved = _MADE_BY[name]
            with contextlib.suppress(AttributeError, RuntimeError):
                result = getattr(above, saved).detach().float()
                if float((result <= _NOTHING * epsilon).float().mean()) >= MOST / 2:
                    return word
        elif name.removesuffix("Backward") in _HANDS_ON:
            todo += [node for node, _ in above.next_functions]
    return None
