"""Gradients that are still there from before the last step of their optimizer, so that more is added to them."""

from __future__ import annotations

import torch
from torch import Tensor

from trainability.doctor.measure.statistics import local


class StaleGradients:
    """Follows which gradients were found empty, or zero, since their optimizer stepped.

    Attributes:
        largest: norm of a gradient that no backward pass since its optimizer's last step found empty or zero.
    """

    def __init__(self) -> None:
        self.largest = 0.0
        self._steps: dict[int, list[bool]] = {}  # by optimizer, of each after its first, whether it had such gradients
        self._cleared: set[int] = set()  # ids of parameters whose gradient was seen empty since their optimizer stepped
        self._old: dict[int, float] = {}  # norms of gradients that were not, when the first backward pass came

    def added(self, parameter: int, before: float) -> None:
        """A gradient was added to a parameter's.

        Args:
            parameter: its id.
            before: norm of what was there; 0 where there was none.
        """
        if parameter in self._cleared:
            return
        if before == 0:
            self._cleared.add(parameter)
        elif parameter not in self._old:
            self._old[parameter] = before

    def is_known(self, parameter: int) -> bool:
        """Whether nothing that is added to this gradient before its optimizer's step tells more."""
        return parameter in self._cleared or parameter in self._old

    @property
    def fraction(self) -> float | None:
        """Share of an optimizer's steps with such gradients, the largest of several's; None before a second step."""
        return max((sum(steps) / len(steps) for steps in self._steps.values()), default=None)

    @property
    def worst(self) -> int | None:
        """The id of the optimizer that `fraction` is of."""
        return max(self._steps, key=lambda key: sum(self._steps[key]) / len(self._steps[key]), default=None)

    def stepping(self, optimizer: int, held: set[int], *, is_first: bool) -> None:
        """An optimizer is about to step.

        Args:
            optimizer: its id.
            held: ids of the parameters that it holds.
            is_first: of its steps; it may find what was there before.
        """
        old = [size for key, size in self._old.items() if key in held and key not in self._cleared]
        if not is_first:
            self._steps.setdefault(optimizer, []).append(bool(old))
            self.largest = max([self.largest, *old])
        self._cleared -= held
        self._old = {key: size for key, size in self._old.items() if key not in held}


def norm(gradient: Tensor) -> float:
    """Norm of a gradient, or of this process's part of it."""
    return float(torch.linalg.vector_norm(local(gradient).float()))
