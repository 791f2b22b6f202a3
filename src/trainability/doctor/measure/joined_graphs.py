"""Graphs that a batch joins without shifting their edges, which all lie among the nodes of the first graph."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import tensors
from trainability.doctor.readings import MisreadEdges

_FEWEST, _MOST, _MOST_NODES = 16, 1 << 20, 1 << 13  # edges; nodes of an adjacency of all pairs
_READ, _WRITTEN = ("getitem", "index_select", "gather", "take_along_dim"), ("index_add", "scatter", "scatter_add")
_WRITTEN += ("scatter_reduce", "index_reduce", "index_put")
_PRODUCTS = ("matmul", "mm", "spmm", "sparse_mm", "_sparse_mm", "addmm")
_INTEGERS = (torch.int64, torch.int32)


class NodeLookups(TorchFunctionMode):
    """Record the indices with which a program reads and writes rows, and tensors that may assign nodes to graphs.

    Args:
        batch: of the program.
    """

    def __init__(self, batch: Any) -> None:
        super().__init__()
        self._looked_up: dict[tuple[int, int], list[Tensor]] = {}  # by the number of rows of the table, and of rows read
        self._pairs: dict[int, list[Tensor]] = {}  # of adjacencies, by nodes
        self._parts: list[Tensor] = []
        self._take_parts(tensor for _, tensor in tensors(batch))

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        with contextlib.suppress(Exception), torch._C.DisableTorchFunction():  # one fact less
            self._see(getattr(func, "__name__", "").strip("_"), [*args, *(kwargs or {}).values()])
        return result

    def _see(self, name: str, given: list[Any]) -> None:
        held = [value for value in given if isinstance(value, Tensor)]
        self._take_parts(held)
        if name == "split" and any(isinstance(sizes := value, list | tuple) for value in given[1:]):
            self._take_parts([torch.tensor([int(size) for size in sizes])])
        if not held or isinstance(held[0], nn.Parameter) or not held[0].dim():
            return
        table, rows = held[0], len(held[0])
        if name in _PRODUCTS and table.dim() == 2 and table.shape[1] == rows and not table.requires_grad:
            if (pairs := _pairs_of(table)) is not None:
                self._pairs.setdefault(rows, []).append(pairs)
        elif name in _READ + _WRITTEN and table.is_floating_point():
            dims = [value for value in given[1:] if isinstance(value, int) and not isinstance(value, bool)]
            by = [given[1]] if name == "getitem" and isinstance(given[1], Tensor) else held[1:]
            if name == "getitem" and isinstance(given[1], tuple):
                by = [given[1][0]]
            if name == "index_put":
                by = [given[1][0]]
            numbers = next((t for t in by if isinstance(t, Tensor) and t.dtype in _INTEGERS and t.dim()), None)
            if numbers is not None and (not dims or dims[0] % table.dim() == 0):
                self._look_up(rows, numbers if numbers.dim() == 1 else numbers.flatten(1)[:, 0])

    def _look_up(self, rows: int, numbers: Tensor) -> None:
        if _FEWEST <= len(numbers) <= _MOST:
            known = self._looked_up.setdefault((rows, len(numbers)), [])
            numbers = numbers.detach().cpu().long()
            if len(known) < 3 and not any(torch.equal(numbers, one) for one in known):
                known.append(numbers.clone())

    def _take_parts(self, given: Iterable[Tensor]) -> None:
        for tensor in given:
            is_list = tensor.layout == torch.strided and tensor.dtype in _INTEGERS and tensor.dim() == 1
            if is_list and 2 <= len(tensor) <= _MOST and not any(tensor is one for one in self._parts):
                self._parts.append(tensor)

    def found(self) -> MisreadEdges | None:
        """Edges of several graphs that all lie among the first nodes, as many as the largest graph has."""
        lists = dict(self._pairs)
        for (rows, _), numbers in self._looked_up.items():
            if len(numbers) == 2:
                lists.setdefault(rows, []).append(torch.stack(numbers))
        for nodes, pairs in lists.items():
            if (found := _unshifted(nodes, pairs, self._parts)) is not None:
                return found
        return None


def unshifted_inputs(inputs: Iterable[Tensor], returned: Iterable[Tensor]) -> MisreadEdges | None:
    """The same for a model's inputs, if they contain nothing with which it could shift the edges itself.

    Args:
        inputs: of the model's calls in a step.
        returned: by these calls: a tensor with a row for each graph shows their number.
    """
    rows = {len(t) for t in returned if t.dim()}
    inputs = [t.detach() for t in inputs]
    lists = [t for t in inputs if t.layout == torch.strided and t.dtype in _INTEGERS and t.dim() == 1 and len(t) >= 2]
    for t in inputs:
        is_edges = t.layout == torch.strided and t.dtype in _INTEGERS and t.dim() == 2 and 2 in t.shape
        if not is_edges and not (t.layout == torch.sparse_coo and t.dim() == 2 and t.shape[0] == t.shape[1]):
            continue
        pairs = (t if len(t) == 2 else t.t()).cpu().long() if is_edges else t._indices().cpu()
        num_edges = pairs.shape[1]
        if not _FEWEST <= num_edges <= _MOST or (len(t) == 2 and t.shape[1] == 2):
            continue
        tables = (
            {len(t)} if not is_edges else {len(x) for x in inputs if x.dim() and x is not t and _may_be_nodes(x, num_edges)}
        )
        for nodes in tables:
            found = _unshifted(nodes, [pairs], lists)
            # With equal numbers of edges per graph, or an index per edge, the model may shift the edges itself.
            if (
                found is not None
                and found.num_graphs in rows
                and (
                    not is_edges
                    or (num_edges % (found.num_graphs or 1) and not any(_sizes(p, num_edges) is not None for p in lists))
                )
            ):
                return found
    return None


def _may_be_nodes(x: Tensor, num_edges: int) -> bool:
    return len(x) != num_edges and (x.is_floating_point() or x.dim() == 1)


def _pairs_of(table: Tensor) -> Tensor | None:
    """Nonzero entries of an adjacency matrix, as two rows."""
    if table.layout == torch.sparse_coo:
        return table.detach()._indices().cpu()
    if table.layout == torch.sparse_csr:
        return table.detach().to_sparse_coo()._indices().cpu()
    return table.detach().cpu().nonzero().t() if len(table) <= _MOST_NODES else None


def _unshifted(nodes: int, lists: list[Tensor], parts: list[Tensor]) -> MisreadEdges | None:
    lists = [pairs[:, pairs[0] != pairs[1]] for pairs in lists]  # edges from each node to itself may be added afterwards
    lists = [pairs for pairs in lists if pairs.shape[1]]
    num_edges, last = sum(pairs.shape[1] for pairs in lists), max((int(pairs.max()) for pairs in lists), default=0)
    if num_edges < _FEWEST or last + 1 >= nodes or min(int(pairs.min()) for pairs in lists) < 0:
        return None
    for part in parts:
        sizes = _sizes(part, nodes)
        if sizes is None or last >= int(sizes.max()):
            continue
        owner = torch.arange(len(sizes)).repeat_interleave(sizes)
        is_crossing = any(bool((owner[pairs[0]] != owner[pairs[1]]).any()) for pairs in lists)
        if is_crossing or any(_has_again(pairs) for pairs in lists):
            return MisreadEdges(num_edges=num_edges, how="unshifted", num_graphs=len(sizes), num_nodes=nodes, reach=last + 1)
    return None


def _has_again(pairs: Tensor) -> bool:
    """Whether most edges occur several times, as when several graphs use the same nodes."""
    keys = pairs[0] * (int(pairs.max()) + 1) + pairs[1]
    return 2 * len(keys.unique()) <= len(keys)


def _sizes(part: Tensor, total: int) -> Tensor | None:
    """Number of nodes per graph, from sizes, graph indices or offsets.

    None if the tensor is none of these, or if one graph has more than half of all nodes, which may be coincidence.
    """
    part = part.detach().cpu().long()
    steps = part.diff()
    if len(part) == total and int(part[0]) == 0 and bool(((steps == 0) | (steps == 1)).all()) and int(part[-1]) > 0:
        sizes = torch.bincount(part)
    elif int(part[0]) == 0 and int(part[-1]) == total and bool((steps > 0).all()):
        sizes = steps
    elif int(part.min()) > 0 and int(part.sum()) == total:
        sizes = part
    else:
        return None
    return sizes if 2 * int(sizes.max()) <= total else None
