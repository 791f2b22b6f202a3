"""Graphs whose nodes have no features: all get the same number, and what tells graphs apart is which are joined."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from trainability.doctor.batches import first_tensor

_APART = 1e-4  # of the largest answer, between two of them; sums in another order differ by less


def has_edges(given: Tensor, beside: Iterable[Tensor]) -> bool:
    """Whether other tensors say which rows of one are joined: pairs of their numbers, or a table of all pairs.

    Args:
        given: (nodes, features), or (graphs, nodes, features).
        beside: what else a model is given, or the batch holds.
    """
    nodes, lists = given.shape[-2], []
    for t in beside:
        if t.dim() > 1 and tuple(t.shape[-2:]) == (nodes, nodes) and nodes > 1:
            return True
        if t.is_floating_point() or t.is_complex() or t.dim() not in (1, 2) or not t.numel() or nodes in (t.shape[0], 1):
            continue
        low, high = (int(x) for x in t.aminmax())
        if not 0 <= low < high < nodes:
            continue
        if t.dim() == 2 and 2 in t.shape:
            return True
        lists += [t] if t.dim() == 1 else []
    # One end of each edge in either; numbers of each node's graph are as many as there are nodes.
    return len({len(t) for t in lists}) < len(lists)


def answers_differ(answer: Any) -> bool:
    """Whether what a model returned differs from row to row; so it may, where it is one row or none."""
    found = first_tensor(answer)
    if found is None or found.dim() == 0 or len(found) < 2 or not found.is_floating_point():
        return True
    rows = found.detach().float()
    return float((rows - rows[:1]).abs().max()) > _APART * float(rows.abs().max())
