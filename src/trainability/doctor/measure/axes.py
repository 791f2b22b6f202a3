"""Points with a few coordinates each: how far each coordinate spreads, example by example."""

from __future__ import annotations

import torch
from torch import Tensor

_AXES, _FEWEST_POINTS, _FEWEST = (2, 3), 16, 32
_SOME = 4_096  # examples that are looked at


class Axes:
    """Collects the spread of each coordinate of inputs of shape (examples, points, coordinates)."""

    def __init__(self) -> None:
        self._rows: list[Tensor] = []
        self._is_other = False

    def add(self, inputs: Tensor) -> None:
        """Take a batch; of other inputs than points nothing is told.

        Args:
            inputs: as the loader yields them.
        """
        if (
            inputs.dim() != 3
            or inputs.shape[2] not in _AXES
            or inputs.shape[1] < _FEWEST_POINTS
            or not inputs.is_floating_point()
        ):
            self._is_other = True
        elif not self._is_other and sum(map(len, self._rows)) < _SOME:
            self._rows.append(inputs.detach().double().std(dim=1).cpu())

    def spreads(self) -> tuple[tuple[float, float], ...]:
        """Of each coordinate, the mean of the examples' standard deviations, and its standard error; () where unknown."""
        if self._is_other or not self._rows or len({rows.shape[1] for rows in self._rows}) != 1:
            return ()
        rows = torch.cat(self._rows)
        if len(rows) < _FEWEST or not bool(rows.isfinite().all()):
            return ()
        errors = rows.std(dim=0) / len(rows) ** 0.5
        return tuple(zip(rows.mean(dim=0).tolist(), errors.tolist(), strict=True))
