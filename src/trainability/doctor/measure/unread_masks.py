"""Masks of weights: tensors of zeros and ones in a weight's shape, and whether a forward pass goes by them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.put_back import put_back
from trainability.doctor.measure.randomness import randomness_restored, seed_torch

_MOST = 64

Forward = Callable[[Any, Any], Tensor]


@dataclass(frozen=True, kw_only=True)
class WeightMask:
    """A buffer, or a plain attribute, that may be multiplied with weights.

    Attributes:
        name: "first.mask".
        values: zeros and ones, both.
        weights: of its module, or of one that this holds, that it can be multiplied with.
    """

    name: str
    values: Tensor
    weights: tuple[nn.Parameter, ...]

    @property
    def is_raster(self) -> bool:
        """Whether it hides what comes later in a kernel, row by row: all rows below the centre, or all to its right in one row.

        The centre itself, and in a kernel of several rows the rest of its row, may be hidden or not.
        """
        if self.weights[0].dim() != 4 or self.values.dim() < 2:
            return False
        rows, columns = self.values.shape[-2:]
        if rows == 1:
            later, earlier = self.values[..., columns // 2 + 1 :], self.values[..., : columns // 2]
        else:
            later, earlier = self.values[..., rows // 2 + 1 :, :], self.values[..., : rows // 2, :]
        return later.numel() > 0 and not bool(later.any()) and bool(earlier.bool().all())


def masks_of(model: nn.Module) -> list[WeightMask]:
    """All masks of a model's weights, not many."""
    found: dict[int, WeightMask] = {}
    for name, module in model.named_modules():
        near = (module, *module.children())
        weights = [p for part in near for p in part.parameters(recurse=False) if p.dim() > 1 and not nn.parameter.is_lazy(p)]
        own = [(key, value) for key, value in (*module.named_buffers(recurse=False), *vars(module).items())]
        for key, value in own if weights else ():
            if not isinstance(value, Tensor) or not _is_mask(value):
                continue
            fitting = tuple(p for p in weights if _fits(value.shape, p.shape))
            if fitting:
                found.setdefault(id(value), WeightMask(name=f"{name}.{key}".lstrip("."), values=value, weights=fitting))
    return list(found.values())[:_MOST]


def unread(model: nn.Module, batch: Any, forward: Forward, masks: Sequence[WeightMask]) -> list[WeightMask]:
    """Those of the masks that no forward pass goes by: with their opposites, the loss is the same to the last bit.

    Args:
        model: runs as it is, and is put back.
        batch: what it is asked.
        forward: of (model, batch), the loss.
        masks: of the model.
    """

    def cost(turned: Iterable[WeightMask]) -> float:
        # A forward pass may write what is masked into the weights.
        with put_back(model), randomness_restored(), torch.no_grad():
            for mask in turned:
                mask.values.copy_(~mask.values if mask.values.dtype == torch.bool else 1 - mask.values)
            seed_torch(0)
            return float(_with_gradients(model, batch, forward))

    loose = [(mask.values, mask.values.clone()) for mask in masks]  # attributes that are no buffers are not put back
    own = cost(())
    found: list[WeightMask] = []
    try:
        for part in (masks, *([mask] for mask in masks)):
            if len(found) < len(masks) and cost(part) == own:
                found += [mask for mask in part if mask not in found]
            _write(loose)
    finally:
        _write(loose)
    return found


def _with_gradients(model: nn.Module, batch: Any, forward: Forward) -> Tensor:
    with torch.enable_grad():
        return forward(model, batch).detach().sum()


def _write(kept: Iterable[tuple[Tensor, Tensor]]) -> None:
    with torch.no_grad():
        for values, before in kept:
            values.copy_(before)


def _is_mask(value: Tensor) -> bool:
    if isinstance(value, nn.Parameter) or value.requires_grad or value.layout != torch.strided or value.is_complex():
        return False
    if value.dim() < 2 or value.numel() < 2 or nn.parameter.is_lazy(value):
        return False
    ones = value == 1
    return bool((ones | (value == 0)).all()) and bool(ones.any()) and not bool(ones.all())


def _fits(mask: torch.Size, weight: torch.Size) -> bool:
    if len(mask) > len(weight):
        return False
    return all(size in (1, own) for size, own in zip(reversed(mask), reversed(weight), strict=False))
