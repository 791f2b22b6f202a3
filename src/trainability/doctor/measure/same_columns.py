"""Columns of a table that are one number in every row."""

from __future__ import annotations

import torch
from torch import Tensor

_FEWEST, _MOST_COLUMNS = 256, 256  # rows; columns
_WIDE = 32  # columns: several with the same number may be pixels that no image draws on, or words that nobody uses


class SameColumns:
    """Follows the least and the greatest number of each column over the batches of a split."""

    def __init__(self) -> None:
        self._low: Tensor | None = None
        self._high: Tensor | None = None
        self._num_rows = 0

    def add(self, rows: Tensor) -> None:
        """Take a batch; what is no table of numbers, or has other columns, ends it."""
        is_table = rows.dim() == 2 and rows.is_floating_point() and 1 < rows.shape[1] <= _MOST_COLUMNS
        if not is_table or (self._low is not None and self._low.shape != rows.shape[1:]):
            self._num_rows = -(1 << 62)
            return
        low, high = rows.detach().float().cpu().aminmax(dim=0)
        self._low = low if self._low is None else torch.minimum(self._low, low)
        self._high = high if self._high is None else torch.maximum(self._high, high)
        self._num_rows += len(rows)

    def found(self) -> tuple[tuple[int, float], ...]:
        """The columns that hold one number, with it; () of fewer than 256 rows, and of what looks like unused places."""
        if self._low is None or self._high is None or self._num_rows < _FEWEST:
            return ()
        places = (self._low == self._high).nonzero()[:, 0].tolist()
        found = tuple((place, float(self._low[place])) for place in places)
        is_background = len(self._low) >= _WIDE and len({value for _, value in found}) == 1
        return () if is_background else found
