"""Targets of a binary cross-entropy that a program writes by hand."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from trainability.doctor.measure.beyond_range import read_places, share
from trainability.doctor.measure.nodes import SAME_VALUES, call_of, parents_of, within

_MOST_NODES = 20_000
_KEPT = (*SAME_VALUES, "Add", "Clamp", "ClampMin", "ClampMax")  # what keeps a probability away from 0
_LONGEST = 8  # calls between the logarithm and the sigmoid
_NEAR = 1e-4


def target_of_likelihood(loss: Tensor) -> tuple[Tensor, GradientEdge] | None:
    """Find t in t log(p) + (1 - t) log(1 - p), where p comes from a sigmoid.

    Weights of classes, counts and returns of a policy are other factors of the two logarithms: they do not add up to 1.

    Args:
        loss: with its graph, before the backward pass.

    Returns:
        The target, and where the probabilities are made; None where the graph has no such two terms.
    """
    if loss.grad_fn is None:
        return None
    of_one: dict[int, Tensor] = {}
    of_rest: dict[int, Tensor] = {}
    kept: dict[int, Any] = {}  # an id is unique only while its node lives
    for node in within([loss.grad_fn], None, _MOST_NODES):
        called = call_of(node)
        if called == "BinaryCrossEntropy":
            above, place = node.next_functions[0]
            return (node._saved_target.detach(), GradientEdge(above, place)) if above is not None else None
        parents = parents_of(node)
        if called != "Mul" or len(parents) != 1 or call_of(parents[0]) != "Log":
            continue
        source, is_rest = _probability(parents[0])
        factor = next((t for t in (node._saved_self, node._saved_other) if isinstance(t, Tensor)), None)
        if source is None or factor is None:
            continue
        kept[id(source)] = source
        (of_rest if is_rest else of_one)[id(source)] = factor.detach()
    found = [key for key, target in of_one.items() if key in of_rest and _are_one(target, of_rest[key])]
    return (of_one[found[0]], GradientEdge(kept[found[0]], 0)) if found else None


def _are_one(target: Tensor, rest: Tensor) -> bool:
    return target.shape == rest.shape and bool(torch.allclose(target + rest, torch.ones_like(target), atol=_NEAR))


def share_outside(loss: Tensor) -> float | None:
    """Count the numbers of this target that are no probabilities.

    Args:
        loss: with its graph, before the backward pass.

    Returns:
        The share of those outside [0, 1], where the loss reads them; None where there is no such target.
    """
    found = target_of_likelihood(loss)
    if found is None or not found[0].numel():
        return None
    target, made = found
    places = read_places(loss, made)
    return float(share(target, 0.0, 1.0, places if places is not None and places.shape == target.shape else None))


def _probability(node: Any) -> tuple[Any, bool]:
    """The sigmoid whose result a logarithm is taken of, and whether it is taken of 1 minus that."""
    is_rest = False
    for _ in range(_LONGEST):
        parents = parents_of(node)
        if len(parents) != 1:
            return None, False
        (node,) = parents
        called = call_of(node)
        if called == "Sigmoid":
            return node, is_rest
        if called == "Rsub":
            is_rest = not is_rest
        elif called not in _KEPT:
            return None, False
    return None, False
