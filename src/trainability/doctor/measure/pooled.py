"""A mean over what a normalisation has just brought to mean zero: the same numbers for every example."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from trainability.doctor.batches import first_tensor
from trainability.doctor.measure import statistics
from trainability.doctor.measure.nodes import name_of, parents_of
from trainability.doctor.theory.signal import NORMALISATIONS

_FEWEST = 8  # examples
_SAME = 1e-5  # of a number of size 1, which is what a normalisation makes: rounding leaves 1e-7 of a mean of zeros
_DIFFER = 1e-3  # of the numbers' rms
_SCALED_AWAY = 1e-3  # rms of a normalisation's weights, as at the end of a residual branch that starts at zero
_MOST_NODES = 12
_SHAPES = ("View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Permute", "Transpose", "Alias", "Clone", "ToCopy")
_MEANS = ("Mean", "AdaptiveAvgPool", "AvgPool")
_WRITTEN = ("AddBackward", "SubBackward", "MulBackward", "DivBackward")  # of a normalisation that is written by hand
_NORMS = ("NativeBatchNorm", "CudnnBatchNorm", "MiopenBatchNorm", "NativeLayerNorm", "NativeGroupNorm")


class PooledNorms:
    """Looks at what goes into layers with weights, as they are called, and at what the model returns.

    Attributes:
        found: the layer that is given such a mean, and the normalisation's name ("" of a function); None where there is none,
            or where a layer behind it, or the answer, differs between examples, so that something goes another way.
    """

    def __init__(self) -> None:
        self.found: tuple[str, str] | None = None
        self._norm, self._differ, self._is_refuted = "", False, False

    def see(self, name: str, module: nn.Module, args: Any) -> None:
        """Look at what a module is called with; in a watched loop, after it ran."""
        given = first_tensor(args)
        if self._is_refuted or given is None or not _is_readable(given):
            return
        if isinstance(module, NORMALISATIONS):
            self._norm = name
            weight = getattr(module, "weight", None)
            if isinstance(weight, Tensor) and float(statistics.rms(weight.detach())) < _SCALED_AWAY:
                self._is_refuted = True
        self._differ = self._differ or _spread(given) > _DIFFER * float(statistics.rms(given.detach()))
        if not any(p.dim() > 1 for p in module.parameters(recurse=False)):
            return
        if self.found is None:
            if self._differ and _is_mean_of_norm(given) and _is_same(given):
                self.found = name, self._norm
        elif not _is_same(given):
            self.found, self._is_refuted = None, True

    def answered(self, output: Any) -> None:
        """Look at what the model, or a part of it that the loop calls by itself, returned."""
        answer = first_tensor(output)
        if self.found is not None and answer is not None and _is_readable(answer) and not _is_same(answer):
            self.found, self._is_refuted = None, True


def _is_readable(given: Tensor) -> bool:
    return statistics.is_readable(given) and given.dim() > 1 and len(given) >= _FEWEST and given.numel() > 0


def _spread(given: Tensor) -> float:
    values = given.detach().float()
    return float((values - values[:1]).abs().max())


def _is_same(given: Tensor) -> bool:
    """Whether the rows are the same but for rounding."""
    return _spread(given) <= _SAME * max(1.0, float(statistics.rms(given.detach().float())))


def _is_mean_of_norm(given: Tensor) -> bool:
    """Whether a tensor is a mean over some of what a normalisation made, with nothing but other shapes between."""
    node, is_mean = given.grad_fn, False
    for _ in range(_MOST_NODES):
        if node is None:
            return False
        name = name_of(node)
        if name.startswith(_NORMS) or (is_mean and _is_written_norm(node)):
            return is_mean
        is_mean |= name.startswith(_MEANS)
        if not name.startswith((*_MEANS, *_SHAPES)):
            return False
        node = node.next_functions[0][0] if node.next_functions else None
    return False


def _is_written_norm(node: Any) -> bool:
    """Whether a node ends weight * (x - x.mean()) / scale + bias, or a part of that, with x - x.mean() in it."""
    for _ in range(_MOST_NODES):
        name, parents = name_of(node), parents_of(node)
        if name not in _WRITTEN or not parents:
            return False
        if name == "SubBackward" and len(parents) == 2 and name_of(parents[1]).startswith("Mean"):
            return parents_of(parents[1])[:1] == parents[:1]
        made = [parent for parent in parents if name_of(parent) != "AccumulateGrad"]
        if len(made) != 1 and name != "DivBackward" and not (name == "MulBackward" and name_of(made[-1]).startswith("Rsqrt")):
            return False
        node = made[0]
    return False
