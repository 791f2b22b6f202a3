"""Examples that are scaled each by itself: how large one was beside another is lost."""

from __future__ import annotations

import torch
from torch import Tensor

_FEWEST_EXAMPLES, _FEWEST_VALUES = 16, 6
_EXACT, _NEARLY = 1e-6, 1e-3  # of extremes, and of a mean and a deviation, which a small constant beside it may change


def scaled_by_themselves(given: Tensor | None) -> str | None:
    """Ask whether every example, or every channel of each, is brought to one and the same range by its own values.

    Args:
        given: (examples, values), (examples, steps, channels) or (examples, channels, steps).

    Returns:
        "extremes": from 0 to 1 by its smallest and largest value; "deviation": to mean 0 and standard deviation 1; else None.
    """
    is_series = given is not None and given.is_floating_point() and given.dim() in (2, 3)
    if given is None or not is_series or len(given) < _FEWEST_EXAMPLES:
        return None
    x = given.detach().float()
    for dim in range(1, x.dim()):
        if x.shape[dim] < _FEWEST_VALUES or float(((x - x.amin(dim, True)) * (x.amax(dim, True) - x) > 0).float().mean()) < 0.5:
            continue
        if _all_near(x.amin(dim), 0.0, _EXACT) and _all_near(x.amax(dim), 1.0, _EXACT):
            return "extremes"
        deviations = (x.std(dim), x.std(dim, correction=0))
        if _all_near(x.mean(dim), 0.0, _NEARLY) and any(_all_near(each, 1.0, _NEARLY) for each in deviations):
            return "deviation"
    return None


def _all_near(values: Tensor, number: float, by: float) -> bool:
    return bool(((values - number).abs() <= by).all()) and bool(torch.isfinite(values).all())
