"""Times of which some are no end but a last visit: whether a loss takes 'not ended yet' for 'longer'."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.instead import Returned, exchanged, pull, returned_once

_FEWEST = 12  # examples
_DISTINCT = 0.5  # share of the times that must differ
_ROWS = 8
_AGAINST = 0.95  # share of the answers
_DRAWS = 2  # of outputs, about each of three levels

Forward = Callable[[Any, Any], Tensor]


@dataclass(frozen=True, eq=False)
class _Part:
    """One number for each example: a tensor of the batch, or one of the columns of a tensor."""

    tensor: Tensor
    column: int | None = None

    @property
    def values(self) -> Tensor:
        return self.tensor if self.column is None else self.tensor[:, self.column]

    def exchanged(self, batch: Any, values: Tensor) -> Any:
        """The batch with other values here."""
        if self.column is not None:
            whole = self.tensor.clone()
            whole[:, self.column] = values
            values = whole
        return exchanged(batch, self.tensor, values)


def censored_backwards(model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass) -> tuple[int, int] | None:
    """Whether 'not ended at this time' moves an output against 'ended later'.

    Whoever has not ended yet lasts longer than whoever ended then. So a loss of times and ends must be moved the same way by a
    later end and by an end that is taken back, whatever the outputs mean, and whatever they are.

    Args:
        model: called once; returns a tensor (batch,), (batch, 1) or (batch, intervals).
        batch: an input that the model is given, and besides one number of 0 or 1 and one positive time an example, in two
            tensors or the columns of one; either of the two numbers may mark an end.
        forward: of (model, batch), the loss.
        seen: the same pass.

    Returns:
        In how many questions the two work against each other, of how many, where it is nearly all; None where they do not, or
        where there are no such two, or the unended count for nothing.
    """
    marked = _time_and_end(seen)
    returned = returned_once(model, batch, forward) if marked is not None else None
    if marked is None or returned is None or not returned.tensors:
        return None
    own = returned.tensors[0]
    if own.dim() not in (1, 2) or len(own) != len(marked[0].values):
        return None
    times, ends = marked
    time, end = times.values, ends.values
    points = torch.randn(own.shape, generator=torch.Generator().manual_seed(1)).to(own)
    mark = _mark_of_ends([_asked(model, batch, forward, returned, points, ends, torch.full_like(end, v)) for v in (0, 1)])
    if mark is None:
        return None
    ended = end.flatten() == mark
    order = time.flatten().argsort()
    rows = [int(i) for i in order[1:-1] if ended[i]]
    rows = rows[:: max(len(rows) // _ROWS, 1)][:_ROWS]
    open_rows = [int(i) for i in order[1:-1] if not ended[i]][:: max(int((~ended).sum()) // 4, 1)][:4]
    later = float(time.max()) * 1.01
    rng = torch.Generator().manual_seed(0)
    with_, against = 0, 0
    for level in (0.0, 2 * later, -2 * later):  # far from every target the weight of an error would change its direction
        for _ in range(_DRAWS):
            points = level + torch.randn(own.shape, generator=rng).to(own)

            ask = functools.partial(_asked, model, batch, forward, returned, points)
            plain = ask()
            if plain is None:
                continue
            if level == 0.0 and not _counts(plain, ask, open_rows, times, later):
                return None
            for row in rows:
                longer, unended = ask(times, _with(time, row, later)), ask(ends, _with(end, row, 1 - mark))
                if longer is None or unended is None:
                    continue
                a, b = (x[row] - plain[row] for x in (longer, unended))
                size, product = float(a.norm() * b.norm()), float((a * b).sum())
                if float(a.abs().max()) > 1e-9 < float(b.abs().max()):
                    with_, against = with_ + (product > 0.1 * size), against + (product < -0.1 * size)
    asked = with_ + against
    return (against, asked) if asked >= _ROWS and against >= _AGAINST * asked else None


def _asked(
    model: nn.Module,
    batch: Any,
    forward: Forward,
    returned: Returned,
    points: Tensor,
    part: _Part | None = None,
    values: Tensor | None = None,
) -> Tensor | None:
    """The gradient at given outputs, with other times or ends."""
    if part is not None and values is not None:
        batch = part.exchanged(batch, values)
    return pull(model, batch, forward, returned, answers=[points, *returned.tensors[1:]])


def _mark_of_ends(gradients: list[Tensor | None]) -> int | None:
    """Which number marks an end, of the gradients where all are 0 and where all are 1.

    Where nobody's end was seen, the loss wants nothing, or wants all to last longer; where everybody's was, some shorter.
    """
    one_way = [g is None or bool((g >= 0).all()) or bool((g <= 0).all()) for g in gradients]
    return one_way.index(False) if one_way.count(False) == 1 else None


def _time_and_end(seen: ForwardPass) -> tuple[_Part, _Part] | None:
    given = {x.data_ptr() for x in seen.inputs if isinstance(x, Tensor)}
    beside = [t for _, t in seen.batch if t.data_ptr() not in given]
    if len(seen.batch) != len(given) + len(beside):
        return None
    found = [_Part(t) for t in beside]
    if len(beside) == 1 and beside[0].dim() == 2 and beside[0].shape[1] == 2:
        found = [_Part(beside[0], column) for column in (0, 1)]
    if len(found) != 2 or any(p.values.numel() != len(p.values) or len(p.values) < _FEWEST for p in found):
        return None
    marks, times = [p for p in found if _are_marks(p.values)], [p for p in found if _are_times(p.values)]
    return (times[0], marks[0]) if len(marks) == len(times) == 1 and times[0] is not marks[0] else None


def _are_marks(t: Tensor) -> bool:
    return bool(((t == 0) | (t == 1)).all()) and bool((t == 0).any()) and bool((t == 1).any())


def _are_times(t: Tensor) -> bool:
    return t.is_floating_point() and bool((t >= 0).all()) and len(t.unique()) > _DISTINCT * len(t)


def _counts(plain: Tensor, ask: Callable[..., Tensor | None], rows: list[int], times: _Part, later: float) -> bool:
    """Whether the examples without an end have a say, and their times, too: a mask leaves them out."""
    for row in rows:
        moved = ask(times, _with(times.values, row, later))
        if moved is not None and bool(plain[row].any()) and not torch.equal(moved[row], plain[row]):
            return True
    return False


def _with(tensor: Tensor, row: int, value: float) -> Tensor:
    changed = tensor.clone()
    changed[row] = value
    return changed
