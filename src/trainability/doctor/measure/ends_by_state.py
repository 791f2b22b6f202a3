"""Whether episodes end where their last state says so, as after a fall, and not after a number of steps."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.batches import tensors

_Pair = tuple[bytes, bytes]  # the first and the second state of an example

_SECONDS, _MOST_ROWS = 1.0, 20_000
_FEWEST_ENDS, _MOST_WIDTH = 20, 64
_FEWEST_GONE_ON, _EXPECTED = 30, 8.0  # states that come again as a first one; ends at which as many would have been expected
_PENALTY = 1e-3
_EARLY, _MOST_ALIKE = 0.25, 0.5  # of the marked episodes: far shorter than the longest; of one length
_BACK = 0.1  # of the different moves, that there are both ways
_NEAR = 0.1  # of the longest: that is its length, too
_CLOCK, _STEADY = 0.95, 0.01  # of the rows; how far a clock's step may be from the usual one


def ends_by_state(state: str, after: str, marks: str, batches: Iterable[Any]) -> float | None:
    """How well the last state of an episode tells that it is one.

    Marks are of ends only if no example begins with the state in which a marked one ends, while others do begin with the states
    in which examples without a mark end: a mark of something else says nothing about what comes next. A state that drifts, as
    the place of a vehicle does, tells a limit of time, too: so the steps from each first state to its mark are counted, and
    columns that go up by one and the same number, as a clock does, are left out. States that are come back to tell no time.

    Args:
        state: the place of the first state in a batch.
        after: likewise of the second.
        marks: likewise of the marks, 0 or 1.
        batches: of the training loader.

    Returns:
        The area under the ROC curve of a ridge regression of the marks on the columns of the second state and their squares,
        fitted on half of the examples and asked of the others: 1 where the state decides, 0.5 where a limit of time does. None
        where marks are not known to be of ends, or are too few, and where a limit of time may have set them.
    """
    firsts, seconds, ends = _rows(state, after, marks, batches)
    if not firsts:
        return None
    first, second, at = torch.cat(firsts), torch.cat(seconds), torch.cat(ends)
    if min(int(at.sum()), int((~at).sum())) < _FEWEST_ENDS or second.shape[1] > _MOST_WIDTH:
        return None
    known = {row.tobytes() for row in first.numpy()}
    goes_on = torch.tensor([row.tobytes() in known for row in second.numpy()])
    usual = float(goes_on[~at].float().mean())
    is_end = not bool(goes_on[at].any()) and usual * int(at.sum()) >= _EXPECTED
    if int(goes_on[~at].sum()) < _FEWEST_GONE_ON or not is_end:
        return None
    if not _comes_back(first, second, at) and _may_be_limit(first, second, at):
        return None
    telling = ~_clocks(first.double(), second.double())
    return _area(second.double()[:, telling], at) if bool(telling.any()) else None


def _comes_back(first: Tensor, second: Tensor, at: Tensor) -> bool:
    """Whether there are steps back to the state before, as on a board: such states tell no time, and all of them go on."""
    before, after = ([row.tobytes() for row in x[~at].numpy()] for x in (first, second))
    moves = {(a, b) for a, b in zip(before, after, strict=True) if a != b}
    return sum((b, a) in moves for a, b in moves) >= _BACK * len(moves) > 0


def _may_be_limit(first: Tensor, second: Tensor, at: Tensor) -> bool:
    """Whether the marked episodes may all have ended at a number of steps, or two; also where too many lack examples.

    An episode of which an example is missing falls into one piece that ends without a mark and one that ends at it, and both
    are shorter than the limit. So no more marked pieces than there are such others can be shorter because of that.
    """
    before, after = ([row.tobytes() for row in x.numpy()] for x in (first, second))
    seen = {pair: k for k, pair in enumerate(zip(before, after, strict=True))}  # an example may be drawn again
    is_marked = {pair: bool(at[k]) for pair, k in seen.items()}
    lengths, starts = _lengths(is_marked), set(before)
    marked = [lengths[pair] for pair, mark in is_marked.items() if mark and lengths[pair]]
    if not marked:
        return True
    longest, count = max(marked), sum(is_marked.values())
    early = sum(length < longest - max(1, round(_NEAR * longest)) for length in marked)
    others = [lengths[pair] for pair, mark in is_marked.items() if not mark and pair[1] not in starts]
    pieces = sum(length < longest for length in others) + count - len(marked)
    alike = max(Counter(marked).values())
    return early - pieces < _EARLY * count or alike > _MOST_ALIKE * len(marked)


def _lengths(is_marked: dict[_Pair, bool]) -> dict[_Pair, int]:
    """Count the examples from the first of an episode, which follows no other, up to each; both included.

    Args:
        is_marked: by the first and the second state of an example, as bytes.

    Returns:
        By the same; 0 where it cannot be told: several examples lead to one state on the way, or a path leads back to itself.
    """
    came_from: dict[bytes, _Pair | None] = {}
    for pair, mark in is_marked.items():
        if not mark:
            came_from[pair[1]] = None if pair[1] in came_from else pair
    known: dict[_Pair, int] = {}
    for pair in is_marked:
        path, here = list[_Pair](), pair
        while here not in known:
            known[here] = 0 if here[0] in came_from else 1  # 0 until it is counted, and where a path leads back to it
            path.append(here)
            here = came_from.get(here[0]) or here
        for each in reversed(path):
            earlier = came_from.get(each[0])
            if earlier is not None and known[earlier]:
                known[each] = known[earlier] + 1
    return known


def _clocks(first: Tensor, second: Tensor) -> Tensor:
    """Columns that one and the same number is added to at almost every step."""
    steps = second - first
    usual = steps.median(dim=0).values
    return (usual != 0) & (((steps - usual).abs() <= _STEADY * usual.abs()).double().mean(dim=0) >= _CLOCK)


def _rows(state: str, after: str, marks: str, batches: Iterable[Any]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    until, count = time.monotonic() + _SECONDS, 0
    firsts: list[Tensor] = []
    seconds: list[Tensor] = []
    ends: list[Tensor] = []
    for batch in batches:
        found = {name: t.detach().cpu() for name, t in tensors(batch)}
        if not {state, after, marks} <= set(found) or found[state].shape != found[after].shape:
            break
        firsts.append(found[state].flatten(1))
        seconds.append(found[after].flatten(1))
        ends.append(found[marks].flatten().bool())
        count += len(ends[-1])
        if count >= _MOST_ROWS or time.monotonic() > until:
            break
    return firsts, seconds, ends


def _area(rows: Tensor, at: Tensor) -> float | None:
    # Alternate rows of each kind, so that each half holds as many ends.
    order = torch.cat([at.nonzero()[:, 0], (~at).nonzero()[:, 0]])
    fitted, asked = order[::2], order[1::2]
    standard = (rows - rows[fitted].mean(0)) / rows[fitted].std(0).clamp(min=1e-12)
    features = torch.cat([torch.ones_like(standard[:, :1]), standard, standard.square()], dim=1)
    weight = torch.where(at[fitted], 0.5 / at[fitted].sum(), 0.5 / (~at[fitted]).sum())
    weighed = features[fitted] * weight[:, None]
    gram = weighed.T @ features[fitted] + _PENALTY * torch.eye(features.shape[1], dtype=features.dtype)
    scores = features[asked] @ torch.linalg.solve(gram, weighed.T @ at[fitted].double())
    ends, others = scores[at[asked]], scores[~at[asked]].sort().values
    if not bool(scores.isfinite().all()):
        return None
    below, up_to = (torch.searchsorted(others, ends, right=right).double() for right in (False, True))
    return float(((below + up_to) / 2).mean() / len(others))
