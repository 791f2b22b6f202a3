"""Maxima and minima that take the number which a mask was filled with, in every row."""

from __future__ import annotations

from typing import Any

from torch import Tensor

_NAMES = ("max", "min", "amax", "amin")
_FEWEST = 4  # rows
_FAR = 1e3  # times the largest of what was not filled


class FilledExtremes:
    """Looks at maxima and minima along a dimension.

    Attributes:
        found: the function and the number that it takes in every row, infinite or a thousand times as large as all others, of
            which every row has some; None if there is none.
    """

    def __init__(self) -> None:
        self.found: tuple[str, float] | None = None

    def see(self, name: str, args: tuple, kwargs: dict[str, Any], result: Any) -> None:
        """Look at a function that was called.

        Args:
            name: of the function, without underscores around it.
            args: that it was given.
            kwargs: that it was given by name.
            result: what it returned.
        """
        given = args[0] if args else kwargs.get("input")
        values = result if isinstance(result, Tensor) else getattr(result, "values", None)
        if self.found is not None or name not in _NAMES or not isinstance(given, Tensor) or not isinstance(values, Tensor):
            return
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        if not isinstance(dim, int) or not given.requires_grad or not given.is_floating_point() or values.numel() < _FEWEST:
            return
        given, values = given.detach(), values.detach()
        filler = values.flatten()[0]
        others = given != filler
        if not bool((values == filler).all()) or not bool(others.any(dim=dim).all()):
            return
        largest = float(given[others].abs().amax())
        if abs(float(filler)) > _FAR * largest > 0:
            self.found = name, float(filler)
