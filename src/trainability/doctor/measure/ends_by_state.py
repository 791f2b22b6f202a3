"""Whether episodes end where their last state says so, as after a fall, and not after a number of steps."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.batches import tensors

_SECONDS, _MOST_ROWS = 1.0, 20_000
_FEWEST_ENDS, _MOST_WIDTH = 20, 64
_FEWEST_GONE_ON, _EXPECTED = 30, 8.0  # states that come again as a first one; ends at which as many would have been expected
_PENALTY = 1e-3


def ends_by_state(state: str, after: str, marks: str, batches: Iterable[Any]) -> float | None:
    """How well the last state of an episode tells that it is one.

    Marks are of ends only if no example begins with the state in which a marked one ends, while others do begin with the states
    in which examples without a mark end: a mark of something else says nothing about what comes next.

    Args:
        state: the place of the first state in a batch.
        after: likewise of the second.
        marks: likewise of the marks, 0 or 1.
        batches: of the training loader.

    Returns:
        The area under the ROC curve of a ridge regression of the marks on the columns of the second state and their squares,
        fitted on half of the examples and asked of the others: 1 where the state decides, 0.5 where a limit of time does. None
        where marks are not known to be of ends, or are too few.
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
    return _area(second.double(), at)


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
