"""Logits that are cosines times a number of the program."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainability.doctor.measure import statistics

_UNIT = 1e-3  # that a norm may be off by
_FEWEST = 4  # rows of a table of cosines, and logits of a row
_PRODUCTS = ("matmul", "mm", "linear")
_AS_THEY_ARE = ("masked_fill", "t", "transpose", "contiguous", "clone", "float", "view", "reshape", "squeeze", "get")
_QUOTIENTS, _SCALINGS = ("div", "truediv"), ("mul", "rmul", "div", "truediv")


class CosineLogits:
    """Follows products of rows of unit length from where they are made to cross-entropy.

    Attributes:
        scale: the number that cosines are multiplied by before cross-entropy, and the fewest of them that one row has (a mask
            may leave some out); None where that number is learned, or logits are no cosines.
        over_examples: whether what is multiplied has unit length in each column, over the rows of the batch, and not in each
            row, on both sides.
    """

    def __init__(self) -> None:
        self.scale: tuple[float, int] | None = None
        self.over_examples = False
        self._scales: dict[int, float] = {}
        self._crosswise: set[int] = set()
        self._alive: list[Tensor] = []  # an id is only unique while its tensor lives

    def see(self, name: str, args: tuple, kwargs: dict[str, Any], result: Any) -> None:
        """Look at a function that was called.

        Args:
            name: of the function, without underscores around it.
            args: that it was given.
            kwargs: that it was given by name.
            result: what it returned.
        """
        if name == "cross_entropy" and len(args) > 1 and isinstance(args[1], Tensor) and not args[1].is_floating_point():
            self._arrives(args[0])
        elif isinstance(result, Tensor) and result.requires_grad and args:
            if name in _PRODUCTS and len(args) > 1 and len(args) + len(kwargs) == 2:
                self._product(args[0], args[1] if name == "linear" else _turned(args[1]), result)
            elif name == "cosine_similarity" and result.dim() == 2 and min(result.shape) >= _FEWEST:
                self._scales[id(result)] = 1.0
                self._alive.append(result)
            elif name in ("cat", "concat"):
                self._pass_on(next(iter(args)), result)
            elif name in _AS_THEY_ARE:
                self._pass_on(args[:1], result)
            elif name in _SCALINGS and len(args) > 1:
                self._scale(name, args, result)

    def _product(self, one: Any, other: Any, result: Tensor) -> None:
        """Of two tables of rows, where each row of one is multiplied with each of the other."""
        tables = (one, other)
        if not all(isinstance(t, Tensor) and t.dim() == 2 and statistics.is_readable(t) for t in tables):
            return
        if min(map(len, tables)) < _FEWEST or one.shape[1] != other.shape[1] or one.shape[1] < 2:
            return
        if all(_are_unit(t, dim=1) for t in tables):
            self._scales[id(result)] = 1.0
        elif all(_are_unit(t, dim=0) for t in tables):
            self._crosswise.add(id(result))
        else:
            return
        self._alive.append(result)

    def _pass_on(self, given: Any, result: Tensor) -> None:
        ids = [id(t) for t in given] if isinstance(given, list | tuple) else []
        scales = {self._scales.get(i) for i in ids}
        if len(scales) == 1 and None not in scales:
            self._scales[id(result)] = self._scales[ids[0]]
        elif ids and all(i in self._crosswise for i in ids):
            self._crosswise.add(id(result))
        else:
            return
        self._alive.append(result)

    def _scale(self, name: str, args: tuple, result: Tensor) -> None:
        given, number = args[:2] if isinstance(args[0], Tensor) and args[0].dim() else args[1::-1]
        factor = _number(number)
        if factor is None or factor == 0 or (name in _QUOTIENTS and given is not args[0]):
            return
        if id(given) in self._crosswise:
            self._crosswise.add(id(result))
        elif id(given) in self._scales:
            self._scales[id(result)] = self._scales[id(given)] * abs(1 / factor if name in _QUOTIENTS else factor)
        else:
            return
        self._alive.append(result)

    def _arrives(self, logits: Any) -> None:
        self.over_examples |= id(logits) in self._crosswise
        scale = self._scales.get(id(logits))
        if scale is None or self.scale is not None or logits.dim() != 2:
            return
        # A mask leaves out what is far below the cosines.
        fewest = int((logits.detach() >= -scale * (1 + _UNIT)).sum(dim=1).min())
        if fewest >= _FEWEST:
            self.scale = scale, fewest


def _turned(table: Any) -> Any:
    return table.detach().t() if isinstance(table, Tensor) and table.dim() == 2 else table


def _are_unit(table: Tensor, dim: int) -> bool:
    with torch.no_grad():
        return bool(((table.detach().float().norm(dim=dim) - 1).abs() <= _UNIT).all())


def _number(given: Any) -> float | None:
    """A number of the program; None of a weight that is learned."""
    if isinstance(given, Tensor):
        return float(given) if given.numel() == 1 and not given.requires_grad and statistics.is_readable(given) else None
    return float(given) if isinstance(given, int | float) else None
