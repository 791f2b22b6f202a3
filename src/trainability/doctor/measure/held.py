"""Inputs that hold their own targets, each at one and the same place."""

from __future__ import annotations

import torch
from torch import Tensor

_MOST_PLACES = 4096
_FEWEST_VALUES = 20  # of the targets: fewer are kinds, which another column may have by chance
_MOST_LAGS = 32  # by which windows of a series are looked for in each other
_FEWEST_WINDOWS = 3  # pairs that overlap; of numbers that were drawn one by one there is none
_RELATED = 5.0  # standard errors of a correlation


def held_at(inputs: Tensor, targets: Tensor) -> tuple[str, str] | None:
    """Find the place at which every input holds its target, value for value.

    Args:
        inputs: (examples, ...) float.
        targets: one float for each example.

    Returns:
        What the inputs are, and the place as an index of a batch. "windows" of a series overlap, so that the target is a value
        of it that the model has read; a "table" is one whose column goes with others, as in measured data. None where no place
        holds all targets, and of anything else: to tell the first number of a sequence, or a column of random ones, is what
        programs ask that try a network out.
    """
    flat, answers = inputs.flatten(1), targets.flatten(1) if targets.dim() > 1 else targets[:, None]
    if not (inputs.is_floating_point() and targets.is_floating_point()) or inputs.dim() not in (2, 3):
        return None
    if answers.shape[1] != 1 or not 2 <= flat.shape[1] <= _MOST_PLACES:
        return None
    # Loaders hand on numpy's float64 as float32 on one side alone.
    same = flat.float() == answers.float()
    places = same.all(dim=0).nonzero()[:, 0]
    if not len(places) or len(answers.unique()) < _FEWEST_VALUES:
        return None
    last = int(places[-1])
    shape = inputs.shape[1:]
    index = [last] if len(shape) == 1 else [last // int(shape[1]), last % int(shape[1])]
    shown = "[:, " + ", ".join(map(str, index)) + "]"
    if are_windows(inputs if inputs.dim() == 2 else inputs[:, :, index[1]]) or (
        inputs.dim() == 3 and are_windows(inputs[:, index[0]])
    ):
        return "windows", shown
    return ("table", shown) if inputs.dim() == 2 and _goes_with_others(flat, places) else None


def are_windows(rows: Tensor) -> bool:
    """Whether rows (examples, steps) are windows of one series: some of them go on where others begin."""
    length = rows.shape[1]
    telling = rows[(rows != rows[:, :1]).any(dim=1)]
    found: set[int] = set()
    for lag in range(1, min(length - 1, _MOST_LAGS + 1)):
        ends = telling[:, lag:]
        varied = (ends != ends[:, :1]).any(dim=1).tolist()
        begins = set(_bytes(telling[:, : length - lag]))
        found.update(k for k, end in enumerate(_bytes(ends)) if varied[k] and end in begins)
        if len(found) >= _FEWEST_WINDOWS:
            return True
    return False


def _bytes(rows: Tensor) -> list[bytes]:
    """What each row holds, by which equal ones are found in a set."""
    values = rows.numpy().tobytes()
    size = rows.shape[1] * rows.element_size()
    return [values[start : start + size] for start in range(0, len(values), size)]


def _goes_with_others(columns: Tensor, places: Tensor) -> bool:
    """Whether the column goes with another one that is no copy of it."""
    x = columns.double()
    x = (x - x.mean(dim=0)) / x.std(dim=0).clamp(min=1e-12)
    strength = (x.T @ x[:, int(places[-1])]).abs() / len(x)
    others = torch.ones(len(strength), dtype=torch.bool)
    others[places] = False
    return bool((strength[others] > _RELATED / len(x) ** 0.5).any())
