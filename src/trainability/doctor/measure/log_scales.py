"""Logarithms of scales that come out of a function which is never below zero, as those of a variational autoencoder's code."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from trainability.doctor.measure.nodes import SAME_VALUES, call_of, parents_of, within

_MOST_NODES = 20_000
_NEVER_BELOW_ZERO = {"Relu": "ReLU", "Softplus": "softplus"}
_PARTS = ("Split", "SplitWithSizes", "Unbind", "Chunk")
_LONGEST = 12  # calls between the two


def floored_log_scale(loss: Tensor) -> str | None:
    """Find a result of a ReLU of which two exponentials are taken, of multiples of one sign: a deviation and its square.

    The sampled code takes exp(log_variance / 2), and the KL divergence exp(log_variance); behind a ReLU neither is below 1.

    Args:
        loss: with its graph.

    Returns:
        The function; None where there is none.
    """
    if loss.grad_fn is None:
        return None
    found: dict[int, set[int]] = {}
    kept: dict[int, Any] = {}
    for node in within([loss.grad_fn], None, _MOST_NODES):
        if call_of(node) == "Exp" and (source := _floor_of(node)) is not None:
            kept[id(source)] = source
            found.setdefault(id(source), set()).add(id(node))
    shared = next((kept[key] for key, taken in found.items() if len(taken) > 1), None)
    return _NEVER_BELOW_ZERO[call_of(shared)] if shared is not None else None


def _floor_of(node: Any) -> Any | None:
    """The call whose result, in parts and times a positive number, goes into this one, if it is never below zero."""
    for _ in range(_LONGEST):
        parents = parents_of(node)
        if len(parents) != 1:
            return None
        (node,) = parents
        called = call_of(node)
        if called in _NEVER_BELOW_ZERO:
            return node
        if called in ("Mul", "Div"):
            if not _is_positive(getattr(node, "_saved_other", None)):
                return None
        elif called not in (*SAME_VALUES, *_PARTS):
            return None
    return None


def _is_positive(factor: Any) -> bool:
    return isinstance(factor, Tensor) and factor.numel() == 1 and float(factor) > 0
