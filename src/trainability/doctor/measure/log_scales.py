"""Logarithms of scales that come out of a function which is never below zero, as those of a variational autoencoder's code."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from trainability.doctor.measure.nodes import SAME_VALUES, call_of, within

_MOST_NODES = 20_000
_NEVER_BELOW_ZERO = {"Relu": "ReLU", "Softplus": "softplus"}
_PARTS = ("Split", "SplitWithSizes", "Unbind", "Chunk")
_PLACES = ("_saved_dim", "_saved_start", "_saved_index")
_LONGEST = 12  # calls between the two


def floored_log_scale(loss: Tensor) -> str | None:
    """Find a result of a ReLU of which two exponentials are taken, of different multiples: a deviation and its square.

    The sampled code takes exp(log_variance / 2), and the KL divergence exp(log_variance); behind a ReLU neither is below 1.

    Args:
        loss: with its graph.

    Returns:
        The function; None where there is none.
    """
    if loss.grad_fn is None:
        return None
    factors: dict[Any, set[float]] = {}
    kept: list[Any] = []  # an id is unique only while its node lives
    for node in within([loss.grad_fn], None, _MOST_NODES):
        found = _floor_of(node) if call_of(node) == "Exp" else None
        if found is not None:
            source, part, factor = found
            kept.append(source)
            factors.setdefault((id(source), part), set()).add(round(factor, 6))
            if len(factors[id(source), part]) > 1:
                return _NEVER_BELOW_ZERO[call_of(source)]
    return None


def _floor_of(node: Any) -> tuple[Any, tuple[Any, ...], float] | None:
    """The call whose result goes into this one if it is never below zero, which part of it, and times which positive number."""
    part, factor = list[Any](), 1.0
    for _ in range(_LONGEST):
        parents = [each for each in node.next_functions if each[0] is not None]
        if len(parents) != 1:
            return None
        ((node, output),) = parents
        called = call_of(node)
        if called in _NEVER_BELOW_ZERO:
            return node, tuple(part), factor
        if called in ("Mul", "Div"):
            other = getattr(node, "_saved_other", None)
            if not isinstance(other, Tensor) or other.numel() != 1 or not float(other) > 0:
                return None
            factor = factor * float(other) if called == "Mul" else factor / float(other)
        elif called in (*SAME_VALUES, *_PARTS):
            part.append((called, output, *(str(getattr(node, place, None)) for place in _PLACES)))
        else:
            return None
    return None
