"""Graphs whose answer depends on the order in which their nodes are listed, though nothing tells one node from another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import first_tensor, tensors
from trainability.doctor.measure import statistics
from trainability.doctor.measure.instead import exchanged
from trainability.doctor.measure.randomness import randomness_restored, seed_torch

_FEWEST_NODES, _FEWEST = 5, 16  # of a graph; graphs of a batch
_SAME, _CHANGES = 1e-5, 1e-2  # of the answers' rms: rounding; and what an order does that counts
_BY_PLACE = 3.0  # times what chance makes of the means of each place
_NEXT = 2.0  # times as often as others, nodes that are listed one after the other have an edge

Forward = Callable[[Any, Any], Tensor]


def node_order(model: nn.Module, batch: Any, forward: Forward) -> float | None:
    """List the nodes of each graph in another order, in all tensors of the batch, and compare the answers.

    Args:
        model: runs as it is; dropout is off.
        batch: holds a symmetric matrix (graphs, nodes, nodes) of edges, different in each graph, and a row of numbers for each
            node (graphs, nodes, features).
        forward: of (model, batch), the loss.

    Returns:
        How much the answers change, over their rms. None where they do not, where an answer has a place for each node, where
        the mean of a feature differs between places of the list, or edges join nodes that are listed one after the other:
        there the order says something.
    """
    held = [(path, t) for path, t in tensors(batch) if t.layout == torch.strided and t.dim() > 1]
    edges = next((t for _, t in held if _are_edges(t)), None)
    if edges is None:
        return None
    graphs, nodes = edges.shape[:2]
    rows = [t for _, t in held if t.dim() == 3 and t.shape[:2] == (graphs, nodes) and t is not edges and t.is_floating_point()]
    if not rows or any(map(_tell_places, rows)) or _is_a_line(edges):
        return None
    own = _answer(model, batch, forward)
    if own is None or any(size == nodes for size in own.shape[1:]) or own.shape[0] != graphs:
        return None
    order = torch.randperm(nodes, generator=torch.Generator().manual_seed(0)).to(edges.device)
    changed = batch
    for _, tensor in held:
        if tensor.shape[:2] == (graphs, nodes):
            other = tensor[:, order]
            changed = exchanged(changed, tensor, other[:, :, order] if tensor.shape[1:3] == (nodes, nodes) else other)
    again, after = _answer(model, batch, forward, seed=1), _answer(model, changed, forward)
    size = float(statistics.rms(own))
    if again is None or after is None or after.shape != own.shape or not size > 0:
        return None
    if float((again - own).abs().max()) > _SAME * size:
        return None  # answers that are drawn, as of features that nodes are given at random
    change = float(statistics.rms(after - own)) / size
    return change if change > _CHANGES else None


def _answer(model: nn.Module, batch: Any, forward: Forward, *, seed: int = 0) -> Tensor | None:
    found: list[Tensor] = []

    def returned(module: nn.Module, args: Any, output: Any) -> None:
        answer = first_tensor(output)
        if answer is not None:
            found.append(answer.detach().float())

    handle = model.register_forward_hook(returned)
    try:
        with torch.no_grad(), randomness_restored():
            seed_torch(seed)
            forward(model, batch)
    finally:
        handle.remove()
    return found[0] if len(found) == 1 and found[0].dim() > 0 else None


def _are_edges(t: Tensor) -> bool:
    """Whether these are matrices of edges, one for each graph: not one for all, and no mask of what is padded."""
    if t.dim() != 3 or t.shape[1] != t.shape[2] or t.shape[1] < _FEWEST_NODES or len(t) < _FEWEST or t.is_complex():
        return False
    there = (t != 0).float()
    off = there - torch.diag_embed(torch.diagonal(there, dim1=1, dim2=2))
    if not torch.equal(off, off.transpose(1, 2)) or bool((off == off[:1]).all()):
        return False
    degrees, valid = off.sum(dim=2), (off.sum(dim=2) > 0).float()
    whole = valid[:, :, None] * valid[:, None, :]
    whole = whole - torch.diag_embed(torch.diagonal(whole, dim1=1, dim2=2))
    return bool(degrees.any()) and not torch.equal(off, whole)


def _tell_places(rows: Tensor) -> bool:
    """Whether the means of a feature, over the graphs, differ between the places of the list by more than chance makes."""
    there = (rows != 0).any(dim=2)  # rows of zeros are padding
    count = there.sum(dim=0).clamp(min=1)[:, None]
    if int(count.min()) < _FEWEST // 2:
        return True
    x = rows.double() * there[:, :, None]
    middle = x.sum(dim=0) / count
    whole = x.sum(dim=(0, 1)) / there.sum()
    within, total = (((x - at) * there[:, :, None]).square().sum(dim=(0, 1)) / there.sum() for at in (middle, whole))
    kept = total > 1e-12 * rows.double().abs().amax().clamp(min=1e-12) ** 2
    if not bool(kept.any()):
        return True
    off = ((middle - whole).square() * count).mean(dim=0)[kept] / within[kept].clamp_min(1e-30)
    return bool((off > _BY_PLACE).any())


def _is_a_line(edges: Tensor) -> bool:
    there = (edges != 0).float()
    next_to = torch.diagonal(there, offset=1, dim1=1, dim2=2).mean()
    size = there.shape[1]
    others = torch.triu(there, diagonal=2).sum() / (len(there) * (size - 1) * (size - 2) / 2)
    return bool(next_to > _NEXT * others)
