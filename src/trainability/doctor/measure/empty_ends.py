"""Packed sequences of which a model keeps the last column of the padded outputs: zeros, but for the longest sequence."""

from __future__ import annotations

import contextlib
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
    has_positive: bool  # every step of every sequence: a ReLU leaves something of each


@dataclass(frozen=True)
class _Empty:
    """What a module is given, or the answer: of which sequences it has zeros for the outputs of a recurrent layer."""

    packed: _Packed
    rows: Tensor
    sizes: tuple[int, int]
    edge: Edge


class EmptyEnds:
    """Looks at recurrent layers that are given packed sequences, and at what is made of their outputs.

    Only rows count by which the loss has a slope: a sequence that has ended may be left out of the loss, or answered otherwise.

    Attributes:
        found: the recurrent layer, of how many sequences the rows are zeros that all of the answer is computed from, and of
            how many sequences; None where there is no such layer, or the answer is computed from anything else of it, and as
            long as no gradient has come back.
    """

    def __init__(self) -> None:
        self.found: tuple[str, int, int] | None = None
        self._packed: list[_Packed] = []
        self._empty: list[_Empty] = []

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
            start = [_edge(answer) for answer in answers]
            reached = next((each for each in self._empty if _reached(start, {each.edge}, set())), None)
            if reached is not None and not _reached(start, recurrent, {each.edge for each in self._empty}):
                self._ask(reached)
        self.forget()

    def _ask(self, empty: _Empty) -> None:
        """Wait for the gradient of rows that are zeros."""
        node, place = empty.edge
        packed, asked = empty.packed, [empty.rows]  # once: gradients of anything else than the loss may come later

        def came_back(gradients: tuple[Tensor | None, ...]) -> None:
            gradient = gradients[place]
            with contextlib.suppress(Exception):  # one fact less
                if asked and gradient is not None:
                    counted = int((gradient.detach().reshape(empty.sizes) != 0).any(dim=1)[asked.pop()].sum())
                    if counted >= _fewest(packed):
                        self.found = packed.name, counted, packed.rows

        node.register_prehook(came_back)

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
        has_positive = bool((data.detach() > 0).any(dim=1).all())
        self._packed.append(_Packed(name, rows, rows - longest, data.shape[1], _edge(data), kept, has_positive))

    def _look(self, given: Tensor) -> None:
        if given.grad_fn is None or not statistics.is_readable(given) or len(self._empty) == _MOST_KEPT:
            return
        sizes = [size for size in given.shape if size > 1]
        if len(sizes) != 2:
            return
        zero = given.detach().reshape(sizes) == 0
        for packed in self._packed:
            rows = self._empty_rows(given, zero, packed) if sizes[0] == packed.rows else None
            if rows is not None and int(rows.sum()) >= _fewest(packed):
                self._empty.append(_Empty(packed, rows, (sizes[0], sizes[1]), _edge(given)))
                return

    def _empty_rows(self, given: Tensor, zero: Tensor, packed: _Packed) -> Tensor | None:
        """Which sequences have zeros for the outputs of a recurrent layer: all that are short, or all of all; else None."""
        start, whole = _edge(given), zero.all(dim=1)
        recurrent = {edge for each in self._packed for edge in (each.outputs, *each.states)}
        if bool(whole.all()):  # padded to more than the longest of the batch; a gate of zeros may close a branch, too
            through = _HANDS_ON | {"Relu"} if packed.has_positive else _HANDS_ON
            only = call_of(start[0]) in through and _reached([start], {packed.outputs}, set(), through)
            return whole if only else None
        empty = whole if int(whole.sum()) == packed.short else zero.sum(dim=1) >= packed.width
        if int(empty.sum()) != packed.short or not bool(empty.any()) or bool(empty.all()):
            return None
        shared = zero[empty].all(dim=0)
        if bool(zero[~empty][:, shared].all()):  # units that are off for all
            return None
        if bool(shared.all()):
            return empty if _reached([start], {packed.outputs}, set()) else None
        # Beside other columns: what comes with the batch, and nothing else of a recurrent layer.
        if call_of(start[0]) != "Cat" or int(shared.sum()) < packed.width:
            return None
        parts = [edge for edge in start[0].next_functions if _reached([edge], recurrent, set())]
        return empty if len(parts) == 1 else None


def _fewest(packed: _Packed) -> float:
    return max(_FEWEST, _SHARE * packed.rows)


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
