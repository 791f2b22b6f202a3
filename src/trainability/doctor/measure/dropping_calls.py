"""Dropout that a model calls as a function: the largest share that is dropped in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from trainability.doctor.facts import LARGE_DROPOUT
from trainability.doctor.measure import statistics

_NAMES = frozenset(
    {"dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout", "dropout1d", "dropout2d", "dropout3d"}
)


class DroppingCalls:
    """Sees functions as they are called.

    Attributes:
        largest: share that one of them drops, where that is `LARGE_DROPOUT` or more; None of less.
    """

    def __init__(self) -> None:
        self.largest: float | None = None

    def see(self, func: Callable, args: tuple, kwargs: dict[str, Any]) -> None:
        """Look at one call: `dropout(input, p=0.5, training=True)`."""
        if getattr(func, "__name__", "") not in _NAMES:
            return
        share, training = (
            kwargs.get(word, args[place] if len(args) > place else default)
            for place, (word, default) in enumerate({"p": 0.5, "training": True}.items(), start=1)
        )
        is_large = isinstance(share, float | int) and share >= max(LARGE_DROPOUT, self.largest or 0.0)
        if training and is_large and not _is_mask(args[0] if args else kwargs.get("input")):
            self.largest = float(share)


def _is_mask(given: Any) -> bool:
    """Whether one number everywhere is dropped from, so that a mask is drawn; also where numbers cannot be looked at."""
    if not isinstance(given, Tensor) or not statistics.has_values(given) or given.numel() < 2:
        return True
    return bool((given == given.flatten()[0]).all())
