"""Packed sequences of which a model keeps the last column of the padded outputs: zeros, but for the longest sequence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from trainability.doctor.batches import tensors
from trainability.doctor.measure import statistics
from trainability.doctor.measure.nodes import SAME_VALUES, call_of

_FEWEST, _SHARE = 4, 0.25  # sequences that are zeros; of the batch
_MOST_KEPT, _MOST_NODES = 16, 20_000
_HANDS_ON = frozenset({*SAME_VALUES, "IndexSelect", "CopySlices", "CopyBackwards", "Copy", "Cat", "AsStrided"})

Edge = tuple[Any, int]  # a node of autograd's graph, and which of its results


@dataclass(frozen=True)
class _Packed:
    """What a recurrent layer made of packed sequences: how many there are, how many are shorter than the longest."""

    name: str
    rows: int
    short: int
    width: int
    outputs: Edge
    states: tuple[Edge, ...]


class EmptyEnds:
    """Looks at recurrent layers that are given packed sequences, and at what is made of their outputs.

    Attributes:
        found: the recurrent layer, of how many sequences the rows are zeros that all of the answer is computed from, and of
            how many sequences; None where there is no such layer, or the answer is computed from anything else of it.
    """

    def __init__(self) -> None:
        self.found: tuple[str, int, int] | None = None
        self._packed: list[_Packed] = []
        self._empty: list[tuple[_Packed, int, Edge]] = []

    def see(self, name: str, module: nn.Module, args: Any, output: Any) -> None:
        """Look at a module that has run."""
        given = args[0] if args else None
        if isinstance(module, nn.RNNBase) and isinstance(given, PackedSequence):
            self._note(name, output)
        elif self._packed and isinstance(given, Tensor):
            self._look(given)

    def answered(self, output: Any) -> None:
        """Look at what the model, or a part of it that the loop calls by itself, returned; forget the graph."""
        if self._packed and self.found is None:
            answers = [tensor for _, tensor in tensors(output) if tensor.grad_fn is not None]
            for answer in answers:  # a model may return its summary, too
                self._look(answer)
            recurrent = {edge for each in self._packed for edge in (each.outputs, *each.states)}
            stops = {edge for *_, edge in self._empty}
            start = [_edge(answer) for answer in answers]
            if stops and _reached(start, stops, set()) and not _reached(start, recurrent, stops):
                packed, empty, _ = self._empty[0]
                self.found = packed.name, empty, packed.rows
        self.forget()

    def forget(self) -> None:
        """Let go of what keeps the graph alive."""
        self._packed, self._empty = [], []

    def _note(self, name: str, output: Any) -> None:
        made, states = output
        data = made.data if isinstance(made, PackedSequence) else None
        if data is None or data.grad_fn is None or not statistics.is_readable(data) or len(self._packed) == _MOST_KEPT:
            return
        rows, longest = int(made.batch_sizes[0]), int(made.batch_sizes[-1])
        if not bool(data.detach().any()):  # weights of zeros
            return
        kept = tuple(_edge(state) for _, state in tensors(states) if state.grad_fn is not None)
        self._packed.append(_Packed(name, rows, rows - longest, data.shape[1], _edge(data), kept))

    def _look(self, given: Tensor) -> None:
        if given.grad_fn is None or not statistics.is_readable(given) or len(self._empty) == _MOST_KEPT:
            return
        sizes = [size for size in given.shape if size > 1]
        if len(sizes) != 2:
            return
        zero = given.detach().reshape(sizes) == 0
        for packed in self._packed:
            if sizes[0] == packed.rows and (empty := self._empty_rows(given, zero, packed)) >= max(
                _FEWEST, _SHARE * packed.rows
            ):
                self._empty.append((packed, empty, _edge(given)))
                return

    def _empty_rows(self, given: Tensor, zero: Tensor, packed: _Packed) -> int:
        """How many sequences have zeros for the outputs of a recurrent layer: all that are short; or all of all, else 0."""
        start, whole = _edge(given), zero.all(dim=1)
        recurrent = {edge for each in self._packed for edge in (each.outputs, *each.states)}
        if bool(whole.all()):  # padded to more than the longest of the batch; a gate of zeros may close a branch, too
            only = call_of(start[0]) in _HANDS_ON and _reached([start], {packed.outputs}, set(), _HANDS_ON)
            return packed.rows if only else 0
        empty = whole if int(whole.sum()) == packed.short else zero.sum(dim=1) >= packed.width
        if int(empty.sum()) != packed.short or not bool(empty.any()) or bool(empty.all()):
            return 0
        shared = zero[empty].all(dim=0)
        if bool(zero[~empty][:, shared].all()):  # units that are off for all
            return 0
        if bool(shared.all()):
            return packed.short if _reached([start], {packed.outputs}, set()) else 0
        # Beside other columns: what comes with the batch, and nothing else of a recurrent layer.
        if call_of(start[0]) != "Cat" or int(shared.sum()) < packed.width:
            return 0
        parts = [edge for edge in start[0].next_functions if _reached([edge], recurrent, set())]
        return packed.short if len(parts) == 1 else 0


def _edge(tensor: Tensor) -> Edge:
    return tensor.grad_fn, tensor.output_nr


def _reached(start: Iterable[Edge], goals: set[Edge], stops: set[Edge], through: frozenset[str] | None = None) -> bool:
    """Whether a path leads from one of some results to a goal, other than by a stop; of too many nodes it is taken to.

    Args:
        start: results.
        goals: likewise.
        stops: likewise.
        through: functions of which nodes on the path may be; None for any.
    """
    todo, seen = list(start), set[Edge]()
    while todo:
        edge = todo.pop()
        if edge in stops or edge in seen or edge[0] is None:
            continue
        if edge in goals:
            return True
        seen.add(edge)
        if len(seen) > _MOST_NODES:
            return True
        if through is None or call_of(edge[0]) in through:
            todo += edge[0].next_functions
    return False
