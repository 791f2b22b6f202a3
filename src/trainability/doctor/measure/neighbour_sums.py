"""Sums over the neighbours in a graph: by how much they multiply the signal on its way through a model."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.measure.randomness import randomness_restored, seed_torch
from trainability.doctor.measure.statistics import has_values, rms
from trainability.doctor.readings import NeighbourSums

_FEWEST_NODES = 8
_MORE = 1.5  # times the rms: below, a sum over neighbours does not multiply much
_PRODUCTS = frozenset({"matmul", "rmatmul", "mm", "bmm", "smm", "spmm", "sparse_mm"})
_SCALED = frozenset({"div", "truediv", "itruediv", "mul", "rmul", "imul"})  # as by the number of neighbours
_ADDED = {"index_add": 3, "scatter_add": 3}  # and the place of what is added


class _Sums(TorchFunctionMode):
    """Products of a matrix of numbers that are not negative, and not trained, with rows for each node."""

    def __init__(self) -> None:
        super().__init__()
        self.gains: list[float] = []
        self._before: list[float] = []
        self._made: dict[int, tuple[int, Tensor]] = {}  # by id: the place of a sum, and what it is now; kept alive

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").strip("_")
        if isinstance(result, Tensor) and result.requires_grad:
            with torch._C.DisableTorchFunction():
                self._see(name, args, kwargs or {}, result)
        return result

    def _see(self, name: str, args: tuple, kwargs: dict[str, Any], result: Tensor) -> None:
        place = next((self._made[id(x)][0] for x in args[:2] if id(x) in self._made), None) if name in _SCALED else None
        if place is None:
            given = _summed(name, args, kwargs)
            before = float(rms(given.detach().float())) if given is not None and has_values(given) else 0.0
            if not before > 0:
                return
            place = len(self.gains)
            self.gains.append(math.nan)
            self._before.append(before)
        if has_values(result):
            self.gains[place] = float(rms(result.detach().float())) / self._before[place]
            self._made[id(result)] = (place, result)


def _summed(name: str, args: tuple, kwargs: dict[str, Any]) -> Tensor | None:
    """Rows of nodes whose sums over neighbours a function takes."""
    if name in _ADDED:
        added = args[_ADDED[name]] if len(args) > _ADDED[name] else kwargs.get("source", kwargs.get("src"))
        return added if isinstance(added, Tensor) and added.requires_grad and added.dim() > 1 else None
    if name not in _PRODUCTS or len(args) < 2 or not all(isinstance(x, Tensor) for x in args[:2]):
        return None
    matrix, rows = (args[1], args[0]) if name == "rmatmul" else args[:2]
    size = matrix.shape[-1]
    if matrix.requires_grad or not rows.requires_grad or rows.dim() < 2 or matrix.dim() < 2 or not size >= _FEWEST_NODES:
        return None
    if matrix.shape[-2] != size or rows.shape[-2] != size or not matrix.is_floating_point():
        return None
    values = matrix.coalesce().values() if matrix.layout == torch.sparse_coo else matrix
    if values.layout != torch.strided and values.layout != torch.sparse_csr:
        return None
    values = values.values() if values.layout == torch.sparse_csr else values
    return rows if values.numel() > 0 and bool((values >= 0).all()) else None


def neighbour_sums(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> NeighbourSums | None:
    """Count sums over neighbours, and multiply what each makes of the rms of its rows.

    Args:
        model: runs as it is.
        batch: of any structure; the matrix may be in it, in the model, or anywhere.
        forward: of (model, batch), the loss.

    Returns:
        None where no sum multiplies the rms of its rows by one and a half.
    """
    sums = _Sums()
    with torch.enable_grad(), randomness_restored(), sums:
        seed_torch(0)
        forward(model, batch)
    gains = [gain for gain in sums.gains if math.isfinite(gain) and gain >= _MORE]
    return NeighbourSums(count=len(gains), gain=math.prod(gains)) if gains else None
