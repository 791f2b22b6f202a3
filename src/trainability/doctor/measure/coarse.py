"""Table columns of large numbers, such as times in seconds, that float32 has rounded to few, evenly spaced values."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_FEWEST, _FEWEST_VALUES = 200, 3  # examples; values of a column
_COPIES, _TARGETS = 20, 10  # examples per value; values of the targets per value of the column
_LEAST_STEP = 64.0  # float32's spacing from 2 ** 29 on: seconds, milliseconds since 1970; counts have smaller steps
_IN_A_ROW = 0.5  # share of the values whose neighbour is one step away


def coarse_column(inputs: Sequence[Tensor], targets: Sequence[Tensor]) -> tuple[int, float, int] | None:
    """Find a column whose few values are multiples of a power of two, while the targets have many values.

    Args:
        inputs: batches of (examples, columns) float64, converted from float32.
        targets: batches of (examples, values) float64.

    Returns:
        Index of the column, its step and its number of values; None if there is none.
    """
    if not targets or sum(map(len, inputs)) < _FEWEST or len({x.shape[1] for x in inputs}) != 1:
        return None
    if len({y.shape[1] for y in targets}) != 1:
        return None
    rows, kinds = torch.cat(list(inputs)), len(torch.cat(list(targets)).unique(dim=0))
    for place, column in enumerate(rows.T):
        values = column.unique()
        if not _FEWEST_VALUES <= len(values) <= min(len(rows) // _COPIES, kinds // _TARGETS):
            continue
        apart = values.diff()
        step = float(apart.min())
        if not _LEAST_STEP <= step < math.inf or math.frexp(step)[0] != 0.5:
            continue
        if bool((values % step == 0).all()) and float((apart == step).double().mean()) >= _IN_A_ROW:
            return place, step, len(values)
    return None
