"""Outputs and targets that a loss broadcasts against each other, told by the graph alone: Monitor is not given targets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import tensors
from trainability.doctor.measure.graph import behind_views, nodes_of_loss
from trainability.doctor.measure.nodes import name_of, shape_at
from trainability.doctor.measure.randomness import randomness_restored

_PAIRED = (
    *("SubBackward", "RsubBackward", "MulBackward", "DivBackward"),
    *("MseLossBackward", "L1LossBackward", "SmoothL1LossBackward", "HuberLossBackward"),
)


def crossed_shapes(loss: Tensor, answers: Iterable[Any]) -> dict[str, Any]:
    """Shapes of outputs and targets of which the loss takes all pairs.

    An operation of two on outputs (n, 1, ...) or (n, ...) and something without a gradient that makes (n, n, ...) of them:
    nodes remember the shape of what they made. The other side then is (n, ...) or (n, 1, ...). Pairs are meant where the loss
    gives its outputs a dimension more, and where it sums over one of the two before the rest, as over a risk set.

    Args:
        loss: one number, with its graph, before or after `backward`.
        answers: nodes that made the model's outputs.

    Returns:
        The fields `output_shape`, `target_shape` and `broadcast_shape` of `Facts`; nothing where no such operation is found.
    """
    made = [(behind_views(node), len(shape_at(node, 0))) for node in answers]
    for node in () if loss.grad_fn is None else nodes_of_loss(loss.grad_fn, through_bounds=True):
        pair = _single_edge(node) if name_of(node) in _PAIRED else None
        if pair is None:
            continue
        terms = shape_at(node, 0) or shape_at(*pair)  # a loss that takes the mean stores one number
        if name_of(pair[0]) == "ExpandBackward":
            terms, pair = shape_at(*pair), _single_edge(pair[0]) or pair
        own = shape_at(*pair)
        if not own or not _is_of_all_pairs(own, terms) or not _comes_from(*pair, made):
            continue
        if not _is_averaged_at_once(loss.grad_fn, node, _num_elements(terms)):
            continue
        other = (own[0], *own[2:]) if own[1:2] == (1,) else (own[0], 1, *own[1:])
        return {"output_shape": own, "target_shape": other, "broadcast_shape": terms}
    return {}


class _Grids(TorchFunctionMode):
    """Whether two tensors without a gradient, (n, 1) and (n,), are set against each other: one is a grid, and no target."""

    def __init__(self) -> None:
        super().__init__()
        self.found = False

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        given = [item for item in args if isinstance(item, Tensor)]
        if len(given) == 2 and not any(t.requires_grad for t in given) and (count := given[0].numel()) > 1:
            self.found |= {tuple(t.shape) for t in given} == {(count,), (count, 1)}
        return func(*args, **(kwargs or {}))


def crossed_outputs(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> dict[str, Any]:
    """The same of one pass through a program.

    Args:
        model: runs once more.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.
    """
    grids, made = _Grids(), list[Any]()

    def keep(module: nn.Module, args: Any, output: Any) -> None:
        made.extend(t.grad_fn for _, t in tensors(output) if t.grad_fn is not None)

    handle = model.register_forward_hook(keep)
    try:
        with torch.enable_grad(), randomness_restored(), grids:
            loss = forward(model, batch).sum()
    finally:
        handle.remove()
    return {} if grids.found else crossed_shapes(loss, made)


def _single_edge(node: Any) -> tuple[Any, int] | None:
    edges = [edge for edge in node.next_functions if edge[0] is not None]
    return edges[0] if len(edges) == 1 else None


def _is_of_all_pairs(own: tuple[int, ...], terms: tuple[int, ...]) -> bool:
    if len(terms) < 2 or terms[0] != terms[1] or terms[0] < 2:
        return False
    return own in ((terms[0], 1, *terms[2:]), (terms[0], *terms[2:]))


# What sets the terms of an example beside each other, as the nearest of some centres, or its share of each.
_WEIGHS = ("SoftmaxBackward", "LogSoftmaxBackward", "LogsumexpBackward", "DivBackward")


def _is_averaged_at_once(root: Any, node: Any, size: int) -> bool:
    """Whether a way leads from the loss to a node along which everything has one number, or as many as the node's terms.

    Not through what makes shares of these terms: centres in the place of targets may be as many as there are examples.
    """
    seen, todo = {root}, [root]
    while todo:
        current = todo.pop()
        if current is node:
            return True
        is_share = name_of(current) in _WEIGHS and _num_elements(shape_at(current, 0)) == size
        if is_share and (name_of(current) != "DivBackward" or _single_edge(current) is None):
            continue
        for above, place in current.next_functions:
            if above is not None and above not in seen and _num_elements(shape_at(above, place)) in (1, size):
                seen.add(above)
                todo.append(above)
    return False


# Functions that select one output per example, such as that of the action taken.
_PICKS = ("GatherBackward", "IndexBackward", "SelectBackward")


def _comes_from(node: Any, place: int, made: list[tuple[Any, int]]) -> bool:
    """Whether only elementwise functions of one argument are between the model's output, of no fewer dimensions, and here.

    Or one output per example is selected on the way, from an output of two dimensions.
    """
    shape = shape_at(node, place)
    size = _num_elements(shape)
    while not any(behind_views(node) is one and num_dims >= len(shape) for one, num_dims in made):
        edge = _single_edge(node)
        if edge is None:
            return False
        given = shape_at(*edge)
        picks = name_of(node) in _PICKS and len(given) == 2 and given[0] == size
        if not picks and _num_elements(given) != size:
            return False
        node, size = edge[0], _num_elements(given)
    return True


def _num_elements(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
