"""Targets computed from the index of a largest output instead of its value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

_LARGEST = ("argmax", "argmin", "max", "min", "topk", "sort")
_KEPT = ("mul", "rmul", "imul", "neg", "float", "double", "to", "type", "squeeze", "unsqueeze", "view", "reshape", "flatten")
_KEPT += ("detach", "clone", "contiguous", "where", "masked_fill", "getitem")
_ADDED = ("add", "radd", "iadd", "sub", "rsub", "isub")
_COMPARED = (*_ADDED, "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
_FEWEST = 4  # examples


class IndexGoals(TorchFunctionMode):
    """Follow the index of each row's largest number to where it is added to the batch's numbers and compared with outputs.

    Attributes:
        found: number of outputs that the index selects from; None if no such target is compared with an output.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: int | None = None
        self._places: dict[int, int] = {}
        self._goals: dict[int, int] = {}
        self._alive: list[Tensor] = []  # an id is only unique while its tensor lives

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Look at a call."""
        result = func(*args, **(kwargs or {}))
        if self.found is None:
            self._see(getattr(func, "__name__", "").strip("_"), [*args, *(kwargs or {}).values()], result)
        return result

    def _see(self, name: str, given: list[Any], result: Any) -> None:
        held = [a for a in given if isinstance(a, Tensor)]
        if name in _LARGEST and held and held[0].is_floating_point() and held[0].dim() == 2:
            place = result if isinstance(result, Tensor) else result[1]
            # The smaller of two critics' values, torch.min(a, b), is no index.
            if place.numel() == len(held[0]) >= _FEWEST and not place.is_floating_point():
                self._keep(self._places, place, held[0].shape[1])
            return
        places, goals = ([memo[id(a)] for a in held if id(a) in memo] for memo in (self._places, self._goals))
        if (
            goals
            and name in _COMPARED
            and any(a.requires_grad and a.is_floating_point() for a in held if id(a) not in self._goals)
        ):
            self.found = goals[0]
        elif places and isinstance(result, Tensor) and result.numel() >= _FEWEST:
            others = [a for a in held if id(a) not in self._places and a.is_floating_point() and a.numel() == result.numel()]
            if name in _ADDED and others and not any(a.requires_grad for a in others):
                self._keep(self._goals, result, places[0])
            elif name in _KEPT or (name in _ADDED and len(held) == 1):
                self._keep(self._places, result, places[0])
        elif goals and isinstance(result, Tensor) and name in _KEPT:
            self._keep(self._goals, result, goals[0])

    def _keep(self, memo: dict[int, int], tensor: Tensor, width: int) -> None:
        memo[id(tensor)] = width
        self._alive.append(tensor)
