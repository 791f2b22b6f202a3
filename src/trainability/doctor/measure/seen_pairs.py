"""Inputs and targets of the sampled steps of a loop, side by side, to see whether they have to do with each other."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.audit_results import Relation, TargetOrder
from trainability.doctor.measure.circular import circular_pairs
from trainability.doctor.measure.class_numbers import class_numbers_of_pairs
from trainability.doctor.measure.coarse import coarse_column
from trainability.doctor.measure.randomness import randomness_restored
from trainability.doctor.measure.relation import (
    FEWEST_EXAMPLES,
    is_labelled,
    is_weak,
    pair_of,
    relation,
    with_linear,
)
from trainability.doctor.measure.tape import Tape
from trainability.doctor.measure.target_order import sorted_samples
from trainability.doctor.readings import Circular, ClassNumbers, Overwritten

_ENOUGH = 600  # examples that are compared
_ENOUGH_TO_COUNT, _FEWEST_SAMPLES = 1200, 2  # to see how often they come again; of a batch of all examples, the second tells
_MOST_VALUES = 1 << 24  # that are kept, of inputs and targets together
_MOST_SAMPLES = 60
_FEWEST_ALIKE, _FEWEST_ROWS = 3, 8  # batches whose rows are all the same, and rows of each
_AGAIN = 4  # as many times more samples, until they are compared anew: comparing 600 pictures takes a third of a second


class SeenPairs:
    """Keeps examples on their device until there are enough.

    Attributes:
        wants_more: whether the next sampled step is of use.
        read: says what the loop's loader has yielded last; None where nothing listens to it.
    """

    def __init__(self) -> None:
        self.wants_more, self.read = True, _nothing
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._found: tuple[int, Relation | None] = (0, None)
        self._looked, self._alike = 0, False
        self._counted, self._coarse = 0, None
        self._on_line: tuple[int, Circular | None, ClassNumbers | None] = (0, None, None)
        self._sorted: tuple[int, TargetOrder | None] = (0, None)

    def add(self, tape: Tape) -> None:
        """Take what the model and the loss were given in one pass; of loops that give something else no more is asked."""
        pair = None
        with contextlib.suppress(Exception):
            pair = pair_of(tape.given_to_both())
        if pair is None or (self._kept and any(a.shape[1:] != b.shape[1:] for a, b in zip(pair, self._kept[0], strict=True))):
            self.wants_more = False
            return
        self._kept.append((pair[0].detach().clone(), pair[1].detach().clone()))  # loops write into their buffers
        rows, values = sum(len(y) for _, y in self._kept), sum(t.numel() for pair in self._kept for t in pair)
        is_counted = rows >= _ENOUGH_TO_COUNT and len(self._kept) >= _FEWEST_SAMPLES
        self.wants_more = not is_counted and values < _MOST_VALUES and len(self._kept) < _MOST_SAMPLES

    def is_last(self, inputs: Tensor, targets: Tensor) -> bool:
        """Whether these, in whatever shape, are what the model and the loss were given in the pass that was kept last."""
        given = zip(self._kept[-1], (inputs, targets), strict=True) if self._kept else ()
        return bool(self._kept) and all(a.numel() == b.numel() and torch.equal(a, b.to(a).reshape(a.shape)) for a, b in given)

    def one_row(self) -> Overwritten | None:
        """Whether all rows of the input are one and the same in each of several batches, another in each, beside classes that
        differ: what all examples share was overwritten by the last of a batch.
        """
        if len(self._kept) != self._looked:
            self._looked, self._alike = len(self._kept), all(_is_one_row(x, y) for x, y in self._kept)
        if not self._alike or len(self._kept) < _FEWEST_ALIKE or torch.equal(self._kept[0][0][0], self._kept[-1][0][0]):
            return None
        rows = sum(len(y) for _, y in self._kept)
        return Overwritten(kind="rows", place="", num_examples=rows, num_changed=rows - len(self._kept))

    def coarse(self) -> tuple[int, float, int, int] | None:
        """A column of few values that are multiples of a large power of two (`coarse_column`), and the number of examples."""
        if len(self._kept) != self._counted:
            narrow = [(x, y) for x, y in self._kept if x.dtype == torch.float32 and y.is_floating_point() and x[0].numel() <= 3]
            pairs = [(x.flatten(1).cpu().double(), y.reshape(len(y), -1).cpu().double()) for x, y in narrow]
            found = coarse_column([x for x, _ in pairs], [y for _, y in pairs]) if len(pairs) == len(self._kept) else None
            self._counted = len(self._kept)
            self._coarse = (*found, sum(len(x) for x, _ in pairs)) if found is not None else None
        return self._coarse

    def sorted_targets(self) -> TargetOrder | None:
        """The order of float targets in the sampled steps, where they are sorted."""
        if len(self._kept) != self._sorted[0]:
            numbers = [y.reshape(len(y), -1).cpu().double() for _, y in self._kept if y.is_floating_point()]
            self._sorted = len(self._kept), sorted_samples(numbers) if len(numbers) == len(self._kept) else None
        return self._sorted[1]

    def on_a_line(self) -> tuple[Circular | None, ClassNumbers | None]:
        """Targets that go around or are numbers of classes, where the loss takes them for numbers on a line.

        See `circular_pairs` and `class_numbers_of_pairs`. Asked anew when there are twice as many samples, and once all are.
        """
        num = len(self._kept)
        if num != self._on_line[0] and (num >= 2 * self._on_line[0] or not self.wants_more):
            with contextlib.suppress(Exception), randomness_restored():
                self._on_line = num, None, None
                self._on_line = num, circular_pairs(self._kept), class_numbers_of_pairs(self._kept)
        return self._on_line[1:]

    def relation(self, *, is_over: bool) -> Relation | None:
        """The comparison of what was kept, each example once; None of too few.

        Args:
            is_over: nothing comes any more; while the loop runs, a comparison waits for four times as many samples as the last.
        """
        num, last = len(self._kept), self._found[0]
        is_due = is_over or not self.wants_more or self._found[1] is None or num >= _AGAIN * last
        if num != last and is_due:
            with contextlib.suppress(Exception), randomness_restored():
                self._found = (len(self._kept), _compared(self._kept))
        return self._found[1]


def _nothing() -> Any:
    return None


def _is_one_row(x: Tensor, y: Tensor) -> bool:
    is_class = y.numel() == len(y) and not y.is_floating_point()
    if not is_class or len(y) < _FEWEST_ROWS or x[0].numel() < 2:
        return False
    return bool((x == x[:1]).all()) and bool((y != y[:1]).any())


def _compared(kept: list[tuple[Tensor, Tensor]]) -> Relation | None:
    if sum(len(y) for _, y in kept) < FEWEST_EXAMPLES:
        return None
    if _are_places(kept):
        return None
    inputs, targets = (torch.cat([t.cpu() for t in part]) for part in zip(*kept, strict=True))
    labelled = is_labelled(targets)
    if not bool(labelled.all()) and all(torch.equal(x, kept[0][0]) for x, _ in kept):
        return None  # of a graph's nodes, which go by their neighbours, too
    inputs, targets = inputs[labelled], targets[labelled]
    first: dict[bytes, int] = {}
    for place, example in enumerate(zip(_rows_of(inputs), _rows_of(targets), strict=True)):
        first.setdefault(b"".join(example), place)
    once = torch.tensor(list(first.values()))
    if len(once) < FEWEST_EXAMPLES:
        return None
    found = relation(inputs[once[:_ENOUGH]], targets[once[:_ENOUGH]])
    if found is None:
        return None
    if is_weak(found, inputs):
        found = with_linear(found, inputs[once], targets[once])
    is_whole = inputs.dim() == 2 and bool((inputs == inputs.round()).all())
    # What is looked up in tables is not known.
    return replace(found, categories=(), seen=(len(targets), len(first)), whole=is_whole)


def _are_places(kept: list[tuple[Tensor, Tensor]]) -> bool:
    """Whether targets are the same in every batch, and inputs are not: they name places in the batch, as of matching pairs."""
    (x, y), others = kept[0], kept[1:]
    return bool(others) and all(torch.equal(y, target) for _, target in others) and not torch.equal(x, others[-1][0])


def _rows_of(tensor: Tensor) -> list[bytes]:
    """The memory of each row: equal rows are equal bytes, and found a hundred times as fast as by sorting numbers."""
    return [row.numpy().tobytes() for row in tensor.reshape(len(tensor), -1).contiguous().view(torch.uint8)]
