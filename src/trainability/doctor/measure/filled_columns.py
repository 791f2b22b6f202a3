"""Columns of a table in which one number, far from all others, stands for values that are missing."""

from __future__ import annotations

import torch
from torch import Tensor

_FEWEST, _MOST_ROWS, _MOST_COLUMNS = 256, 8192, 256
_REPEATED, _SHARE, _MOST_SHARE = 5, 0.003, 0.5  # times that the number occurs, and the share of the rows
_VALUES = 20  # others that a column has to hold: categories have no scale
_FAR = 10.0  # standard deviations of the others, from the nearest of them


class FilledColumns:
    """Keeps rows of a table from the batches of a split."""

    def __init__(self) -> None:
        self._rows: list[Tensor] = []
        self._count = 0
        self._is_table = True

    def add(self, rows: Tensor) -> None:
        """Take a batch; what is no table of numbers, or has other columns, ends it."""
        is_table = rows.dim() == 2 and rows.is_floating_point() and rows.shape[1] <= _MOST_COLUMNS
        if not is_table or (self._rows and self._rows[0].shape[1:] != rows.shape[1:]):
            self._is_table = False
            self._rows.clear()
        elif self._is_table and self._count < _MOST_ROWS:
            self._rows.append(rows.detach().double().cpu())
            self._count += len(rows)

    def found(self) -> tuple[tuple[int, float, float, float], ...]:
        """The columns, the number, its share of the rows, and how far it is from the nearest other value, in their deviations.

        Such a number is the least or the greatest of its column, occurs in 0.3 % of the rows and five of them, and is ten
        standard deviations of the others, and more, from the nearest. () with fewer than 256 rows.
        """
        if not self._is_table or self._count < _FEWEST:
            return ()
        rows = torch.cat(self._rows)
        told = [(place, *filled) for place in range(rows.shape[1]) if (filled := _filled(rows[:, place])) is not None]
        return tuple(told)


def _filled(column: Tensor) -> tuple[float, float, float] | None:
    column = column[column.isfinite()]
    if len(column) < _FEWEST:
        return None
    for value in (column.min(), column.max()):
        others = column[column != value]
        count = len(column) - len(others)
        if not (max(_REPEATED, _SHARE * len(column)) <= count <= _MOST_SHARE * len(column)):
            continue
        spread = float(others.std())
        if not spread > 0 or len(others.unique()) < _VALUES:
            continue
        gap = float((others - value).abs().min()) / spread
        if gap >= _FAR:
            return float(value), count / len(column), gap
    return None
