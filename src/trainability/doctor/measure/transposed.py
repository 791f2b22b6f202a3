"""Places of a sequence or a map that are held against another example's, as behind a transpose of answers or targets alone."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.instead import Returned, exchanged, pull, returned_once
from trainability.doctor.measure.pairing import judged, rows_asked
from trainability.doctor.measure.workspace import set_training
from trainability.doctor.pair_facts import Misaligned

_FEWEST = 4  # examples
_MOST_ASKED = 6
_MOST_PAIRS = 12  # of tensors that may be inputs and targets: a batch of more is a row for each example
_SLIGHT = 1e-6  # of the largest value

Forward = Callable[[Any, Any], Tensor]
Look = tuple[int, set[int], set[int]]


def transposed(model: nn.Module, batch: Any, forward: Forward) -> Misaligned | None:
    """Change one place of one example's target, and see whether another example's output is asked for something else.

    Args:
        model: returns a tensor with a dimension of examples and one or more of places, or a row for each place of each example,
            and is called once; runs in eval mode, and the caller puts modes back.
        batch: as the loop draws it: inputs and targets with examples along the first dimension, or the second, and several
            places each.
        forward: of (model, batch), the loss.

    Returns:
        The two tensors of the batch and an example; None where each place is held against its own example's output, where a
        change moves several examples' outputs or what is asked of them, and where it cannot be asked.
    """
    found = {name: t for name, t in tensors(batch) if t.dim() and t.dtype != torch.bool}
    wide = {name: t for name, t in found.items() if t.dim() > 1}
    set_training(model, False)
    own = returned_once(model, batch, forward) if wide else None
    if own is None or not own.tensors or own.tensors[0].dim() < 2 or not own.tensors[0].is_floating_point():
        return None
    pulled = pull(model, batch, forward, own)
    if pulled is None:
        return None
    aligned = set[tuple[str, str]]()
    for given, target, axis in itertools.islice(_pairs(found, wide), _MOST_PAIRS):
        # Examples that are held against their own: in which order their places are is the task's, as to say them backwards.
        if (given, target) in aligned:
            continue
        count = found[given].shape[axis]

        def answered(row: int, given: str = given, axis: int = axis) -> Tensor | None:
            other = _other_row(batch, found[given], row, axis)
            now = returned_once(model, other, forward) if other is not None else None
            return _changed(own.tensors[0], now.tensors[0]) if now is not None else None

        looks = _looks(model, batch, forward, own, pulled, target, count, axis, answered)
        if len(looks) == 2 and all(made == asked for _, made, asked in looks):
            aligned.add((given, target))
        if (told := _turned(judged((given, target), looks, count))) is not None:
            return told
    return None


def held_elsewhere(
    model: nn.Module,
    batch: Any,
    forward: Forward,
    pair: tuple[str, str],
    axis: int,
    shape: tuple[int, ...],
    along: Callable[[Tensor], set[int]],
) -> Misaligned | None:
    """Likewise of a loop that is watched, in which what each answer is made of is known already.

    Args:
        model: see `transposed`.
        batch: likewise.
        forward: likewise.
        pair: places of inputs and targets in the batch.
        axis: dimension of the examples in the inputs.
        shape: of the first tensor that it returned, which `along` is known of.
        along: of places of the output that are marked, the examples that these are of.
    """
    own, found = returned_once(model, batch, forward), dict(tensors(batch))
    pulled = pull(model, batch, forward, own) if own is not None and own.tensors[0].shape == shape else None
    if own is None or pulled is None:
        return None
    looks: list[Look] = []
    count = found[pair[0]].shape[axis]
    for row in rows_asked(count)[:_MOST_ASKED]:
        held = _asked(map(along, _held(model, batch, forward, own, pulled, found[pair[1]], row, axis, count)), {row})
        looks += [(row, {row}, held)] if len(held) == 1 else []
    return _turned(judged(pair, looks, count))


def _pairs(found: dict[str, Tensor], wide: dict[str, Tensor]) -> Iterator[tuple[str, str, int]]:
    """Inputs and targets with as many examples, along the first dimension or, of sequences, along the second."""
    for axis in (0, 1):
        for target, t in wide.items():
            for given, x in found.items():
                is_sequence = x.dim() > 2 or (x.dim() == 2 and not x.is_floating_point())
                if (given == target and len(found) > 1) or x.dim() <= axis or (axis and not is_sequence):
                    continue
                if x.shape[axis] >= _FEWEST and x.shape[axis] in t.shape[:2]:
                    yield given, target, axis


def _looks(
    model: nn.Module,
    batch: Any,
    forward: Forward,
    own: Returned,
    pulled: Tensor,
    name: str,
    count: int,
    axis: int,
    answered: Callable[[int], Tensor | None],
) -> list[Look]:
    """Rows, with the examples that they answer and those that are asked for something else; two where both are their own."""
    looks: list[Look] = []
    left, target = set(ways(own.tensors[0], count)), dict(tensors(batch))[name]
    for row in rows_asked(count)[:_MOST_ASKED]:
        changed = answered(row)
        if changed is None:
            return []
        left &= {way for way in left if len(along(changed, way, count)) == 1}
        if len(left) != 1:  # inputs that no answer is made of, answers that mix examples, or have no dimension of theirs
            return []
        (way,) = left
        made = along(changed, way, count)
        places = _held(model, batch, forward, own, pulled, target, row, axis, count)
        asked = _asked(map(functools.partial(along, way=way, count=count), places), made)
        if len(asked) != 1:
            return []
        looks.append((row, made, asked))
        if len(looks) == 2 and all(one == other for _, one, other in looks):
            break
    return looks


def _turned(found: Misaligned | None) -> Misaligned | None:
    return None if found is None else Misaligned(**{**vars(found), "turned": True})


def ways(output: Tensor, count: int) -> list[int]:
    """Dimensions that may be the examples'; of rows for each place -1 where an example's follow each other, -2 if not."""
    if output.dim() > 2:
        viewed = [-2] if output.shape[1] != count and output.shape[:2].numel() % count == 0 else []
        return [*(d for d in range(output.dim()) if output.shape[d] == count), *viewed]
    return [-1, -2] if len(output) > count and len(output) % count == 0 else []


def along(marked: Tensor, way: int, count: int) -> set[int]:
    """The examples of which places of the output are marked.

    Args:
        marked: in the shape of the output.
        way: the dimension of examples; -1 and -2 of an output with a row for each place, those of an example in a row or not.
        count: of examples.
    """
    if way < 0:
        rows = (marked if marked.dim() == 2 else marked.flatten(0, 1)).flatten(1).any(dim=1)
        return _places(rows.view(count, -1).any(dim=1) if way == -1 else rows.view(-1, count).any(dim=0))
    return _places(marked.movedim(way, 0).flatten(1).any(dim=1))


def _places(marked: Tensor) -> set[int]:
    return set(marked.nonzero().flatten().tolist())


def _changed(before: Tensor, now: Tensor | None) -> Tensor | None:
    if now is None or now.shape != before.shape:
        return None
    return (before - now).abs() > _SLIGHT * float(before.abs().max())


def _other_row(batch: Any, tensor: Tensor, row: int, axis: int) -> Any:
    """The batch with another example's values in the place of one's; None where all examples have the same."""
    rows = tensor.movedim(axis, 0)
    others = (rows != rows[row : row + 1]).reshape(len(rows), -1).any(dim=1)
    if not bool(others.any()):
        return None
    changed = tensor.clone()
    changed.movedim(axis, 0)[row] = rows[int(others.nonzero()[-1])]
    return exchanged(batch, tensor, changed)


def _asked(held: Iterator[set[int]], made: set[int]) -> set[int]:
    """The example whose output is asked for something else: of two places of a target, one that is held elsewhere, if any."""
    asked = set[int]()
    for asked in itertools.islice((each for each in held if len(each) == 1), 2):
        if asked != made:
            break
    return asked


def _held(
    model: nn.Module,
    batch: Any,
    forward: Forward,
    own: Returned,
    pulled: Tensor,
    target: Tensor,
    row: int,
    axis: int,
    count: int,
) -> Iterator[Tensor]:
    """Places of the output that are asked for something else once one place of an example's target is another, one by one."""
    at_axis = axis if target.shape[axis] == count else 1 - axis
    values = target.flatten()
    values = values[values >= 0] if not target.is_floating_point() else values  # what is below is left out by losses
    length, rest = target.numel() // count, [size for d, size in enumerate(target.shape) if d != at_axis]
    for at in ((3 * row + length // 2 + 1) % length, length - 1, length // 4, length // 2, 0):  # the first along no diagonal
        places = target.movedim(at_axis, 0).reshape(count, -1).clone()
        others = values[values != places[row, at]]
        if not len(others):
            return
        # Not padding, where there is anything else.
        places[row, at] = others[(others != others.mode().values).int().argmax()]
        changed = places.view(count, *rest).movedim(0, at_axis)
        held = _changed(pulled, pull(model, exchanged(batch, target, changed), forward, own))
        if held is not None and bool(held.any()):
            yield held
