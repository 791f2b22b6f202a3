"""Edges of a graph that were reshaped from (edges, 2) to (2, edges), and not transposed: told by their order and directions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import tensors
from trainability.doctor.measure.joined_graphs import NodeLookups, unshifted_inputs
from trainability.doctor.measure.randomness import randomness_restored
from trainability.doctor.measure.replay import Called
from trainability.doctor.readings import MisreadEdges

_FEWEST, _MOST, _MOST_WATCHED = 32, 1 << 22, 1 << 18  # edges
_LOOKUPS = frozenset(
    {"getitem", "index_select", "index_add", "scatter", "scatter_add", "scatter_reduce", "gather", "embedding"}
)
_LOOKUPS |= {"take_along_dim", "setitem", "index_put", "bincount", "take"}

Forward = Callable[[Any, Any], Tensor]


class _Lookups(TorchFunctionMode):
    """Notes integer tensors of two rows, and whose memory places are looked up by."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs: dict[tuple[int, int], Tensor] = {}
        self.used: set[int] = set()

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        looks_up = getattr(func, "__name__", "").strip("_") in _LOOKUPS
        for place, t in enumerate(_integers([*args, *kwargs.values()])):
            if t.dim() == 2 and len(t) == 2 and _FEWEST <= t.shape[1] <= _MOST:
                self.pairs.setdefault((t.data_ptr(), t.numel()), t)
            if looks_up and t.dim() and not (place == 0 and t.dim() == 2 and len(t) == 2):
                self.used.add(t.untyped_storage().data_ptr())
        return func(*args, **kwargs)


def _integers(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            if value.dtype in (torch.int64, torch.int32) and value.layout == torch.strided:
                yield value
        elif isinstance(value, tuple | list):
            yield from _integers(value)


def misread_edges(model: nn.Module, batch: Any, forward: Forward) -> MisreadEdges | None:
    """Run the program once, and read each list of edges that it looks something up by the other way.

    Args:
        model: runs as it is; the caller puts modes, buffers and random state back.
        batch: what it is asked.
        forward: of (model, batch), the loss.

    Returns:
        A list in two rows that is one of edges as it stands in memory, pair by pair, each of them once and none from a node to
        itself: every edge has its reverse, or they are sorted, and by its two rows neither holds. Otherwise edges of several
            graphs that all lie among the nodes of the first. None otherwise.
    """
    seen, nodes = _Lookups(), NodeLookups(batch)
    with torch.enable_grad(), randomness_restored(), seen, nodes:
        forward(model, batch)
    for pairs in seen.pairs.values():
        if pairs.untyped_storage().data_ptr() in seen.used and (how := _better_in_pairs(pairs.detach().cpu().long())):
            return MisreadEdges(num_edges=pairs.shape[1], how=how)
    return nodes.found()


def edges_of(model: nn.Module, calls: Sequence[Called]) -> MisreadEdges | None:
    """The same of a watched loop: of what the model keeps and of what it is given.

    Args:
        model: its tensors of two rows, whether registered as buffers or not.
        calls: of the model, or of its parts, in a step.
    """
    inputs = calls[0].inputs if calls else ()
    with contextlib.suppress(Exception):  # one fact less
        kept = (value for module in model.modules() for value in (*vars(module).values(), *module._buffers.values()))
        for pairs in _integers([*inputs, *kept]):
            if pairs.dim() != 2 or len(pairs) != 2 or not _FEWEST <= pairs.shape[1] <= _MOST_WATCHED:
                continue
            if how := _better_in_pairs(pairs.detach().cpu().long()):
                return MisreadEdges(num_edges=pairs.shape[1], how=how)
    with contextlib.suppress(Exception):
        returned = [tensor for call in calls for _, tensor in tensors(call.returned)]
        return unshifted_inputs([tensor for call in calls for tensor in call.inputs], returned)
    return None


def _better_in_pairs(rows: Tensor) -> str | None:
    rows = _without_loops(rows)
    half = rows.shape[1] // 2
    if rows.shape[1] % 2 == 0 and torch.equal(rows[:, half:], rows[:, :half].flip(0)):  # the way back was added afterwards
        rows = rows[:, :half]
    if rows.shape[1] < _FEWEST or int(rows.min()) < 0:
        return None
    own, other = rows.T, rows.reshape(-1, 2)
    if bool((other[:, 0] == other[:, 1]).any()) or _is_both_ways(own):
        return None
    keys = _keys(other)
    if len(keys.unique()) < len(keys):
        return None
    if _is_both_ways(other):
        return "both ways"
    orders = [(_keys(other), own[:, 0]), (_keys(other.flip(1)), own[:, 1])]
    is_sorted = any(bool((a.diff() > 0).all()) for a, _ in orders)
    return "sorted" if is_sorted and not any(bool((b.diff() >= 0).all()) for _, b in orders) else None


def _without_loops(rows: Tensor) -> Tensor:
    """Without the edges from each node to itself that were put at the end."""
    others = (rows[0] != rows[1]).nonzero()
    return rows[:, : int(others[-1]) + 1] if len(others) else rows[:, :0]


def _keys(edges: Tensor) -> Tensor:
    return edges[:, 0] * (int(edges.max()) + 1) + edges[:, 1]


def _is_both_ways(edges: Tensor) -> bool:
    """Whether each edge is there in the other direction as well."""
    return torch.equal(_keys(edges).unique(), _keys(edges.flip(1)).unique())
