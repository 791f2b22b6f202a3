"""Whether a forward pass mixes the examples of its batch by a softmax or a view, read off its graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from trainability.doctor.batches import tensors
from trainability.doctor.graph_facts import LossGraph, MisreadHeads
from trainability.doctor.measure.at_limit import held_by
from trainability.doctor.measure.nodes import given_shape, name_of, shape_at, within, wrapped

_MOST_NODES = 20_000
_OF_ONE = 1e-3
_VIEWS = ("ViewBackward", "UnsafeViewBackward", "ReshapeAliasBackward")
_EXAMPLES_FIRST = (2, 4)  # dimensions of inputs whose first is that of the examples: of three, the first may be steps


def softmax_over_batch(answers: Sequence[Any], inputs: Sequence[Tensor], size: int | None) -> tuple[int, int] | None:
    """Look for a softmax over the first of two dimensions, the one of the examples.

    Args:
        answers: nodes of the tensors that the model returned; they may have been freed.
        inputs: what the model was given.
        size: examples of the batch.

    Returns:
        Shape of the softmax, (examples, 2 or more). None if there is none; if an input is a sequence, a set of words or an
        adjacency, or the outputs do not have a row per example, as for a set that is the whole batch; and if another softmax
        runs over the second dimension of the same shape, so that both are intended.
    """
    if size is None or size < 2 or not answers or not inputs:
        return None
    if any(
        not x.is_floating_point() or x.dim() not in _EXAMPLES_FIRST or len(x) != size or size in x.shape[1:] for x in inputs
    ):
        return None
    if any(shape[:1] != (size,) or size in shape[1:] for shape in map(shape_at, answers)):
        return None
    over: dict[tuple[int, ...], set[int]] = {}
    for node in nodes_behind(answers):
        shape, dim = shape_at(node), getattr(node, "_saved_dim", None)
        if "oftmax" in name_of(node) and dim is not None and len(shape) == 2:
            over.setdefault(shape, set()).add(wrapped(dim, 2))
    return next(((size, k) for (n, k), dims in over.items() if n == size and k not in (1, size) and dims == {0}), None)


def meant_over_batch(graph: LossGraph | None, batch: Any) -> LossGraph | None:
    """The same graph, without a softmax over the examples where the targets are the shares of all examples in several goals.

    Args:
        graph: of the loss.
        batch: with its targets, such as the documents of a query with what each is worth: (documents, goals), of which each
            column sums to 1.
    """
    if graph is None or not graph.over_batch or not any(_are_shares(t) for _, t in tensors(batch)):
        return graph
    return replace(graph, over_batch=False)


def _are_shares(target: Tensor) -> bool:
    if target.dim() != 2 or not target.is_floating_point() or min(target.shape) < 2:
        return False
    sums = target.sum(dim=0)
    return bool((target >= 0).all()) and bool(((sums - 1).abs() < _OF_ONE).all())


def with_views(graph: LossGraph | None, returned: Sequence[Tensor], viewed: MisreadHeads | None) -> LossGraph | None:
    """The same graph, with a view across the examples and a limit at the outputs, if the returned tensors show them.

    Args:
        graph: of the loss.
        returned: by the model.
        viewed: of the batch itself; it stands where no other view is misread.
    """
    nodes = [tensor.grad_fn for tensor in returned if tensor.grad_fn is not None]
    size = len(returned[0]) if nodes and returned[0].dim() else None
    found = {"viewed_across": viewed_across(nodes, size), "held_by": held_by(returned)}
    return replace(graph, heads=graph.heads or viewed, **found) if graph is not None else None


def viewed_across(answers: Sequence[Any], size: int | None) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Look for a view of (layers, examples, features) as one row per example, as of a recurrent layer's last state.

    Args:
        answers: nodes of the tensors that the model returned; they may have been freed.
        size: examples of the batch.

    Returns:
        The shapes before and after the view: (layers, examples, features) and (examples, layers * features) or (examples,
        layers, features). None if there is none, if the outputs do not have a row per example, and if the first dimension is
        not smaller than the second, because it may then hold the examples.
    """
    if size is None or not answers or any(shape[:1] != (size,) for shape in map(shape_at, answers)):
        return None
    for node in nodes_behind(answers):
        given, made = given_shape(node), shape_at(node)
        if name_of(node) not in _VIEWS or len(given) != 3 or not 1 < given[0] < given[1] == size:
            continue
        if made in ((size, given[0] * given[2]), (size, given[0], given[2])):
            return given, made
    return None


def nodes_behind(answers: Sequence[Any]) -> Iterator[Any]:
    """Nodes of the graph from these on, each once; at most 20,000."""
    return within(answers, None, _MOST_NODES)
