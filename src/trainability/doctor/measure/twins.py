"""Units and modules that start alike and get the same gradient, so that they stay alike."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trainability.doctor.measure.columns import RECURRENT

_SAME = 1e-4  # of the largest
_WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd)
_LAYERS = (*_WEIGHTED, nn.Bilinear, nn.MultiheadAttention, *RECURRENT)
_NEAR_CONSTANT, _FEWEST_WEIGHTS = 0.1, 8


def rows_alike(tensor: Tensor) -> bool:
    """Whether all rows are the same, to a ten-thousandth of the largest number."""
    rows = tensor.flatten(1).float()
    limit = _SAME * torch.linalg.vector_norm(rows, torch.inf)
    # Two rows tell of nearly every weight that it is drawn, and cost no second tensor of its size.
    return all(bool(((some - rows[:1]).abs() <= limit).all()) for some in (rows[:2], rows))


def multiplies_a_matrix(model: nn.Module, name: str) -> bool:
    """Whether a parameter is the weight of a layer of PyTorch's, and not a gain that multiplies number by number."""
    return isinstance(model.get_submodule(name.rpartition(".")[0]), _LAYERS)


def identical_modules(model: nn.Module, gradients: Mapping[str, Tensor | None]) -> tuple[str, ...]:
    """Children of one module, of one kind, with the same weights and the same gradient: copies that remain copies.

    Args:
        model: whose modules are compared; where it drops units at random, copies do not stay the same.
        gradients: of the loss, by the names of `named_parameters()`.

    Returns:
        Names of the copies, the first of each kind among them. Tied modules are one, and those without a gradient or with
        nothing but zeros are left out.
    """
    if any(isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0 for m in model.modules()):
        return ()
    found: list[str] = []
    for path, parent in model.named_modules():
        if any(path == name or path.startswith(f"{name}.") for name in found):
            continue
        kinds: dict[tuple, list[tuple[str, nn.Module]]] = {}
        for name, child in parent.named_children():
            shapes = tuple((n, p.shape) for n, p in child.named_parameters())
            kinds.setdefault((type(child), shapes), []).append((f"{path}.{name}".lstrip("."), child))
        for (_, shapes), group in kinds.items():
            if len(group) > 1 and any(len(shape) > 1 for _, shape in shapes):
                (first, one), *others = group
                alike = [name for name, other in others if _alike(first, one, name, other, gradients)]
                found += [first, *alike] if alike else []
    return tuple(found)


def _alike(first: str, one: nn.Module, second: str, other: nn.Module, gradients: Mapping[str, Tensor | None]) -> bool:
    drawn = moves = False
    for (name, a), (_, b) in zip(one.named_parameters(), other.named_parameters(), strict=True):
        mine, its = gradients.get(f"{first}.{name}"), gradients.get(f"{second}.{name}")
        if a is b or mine is None or its is None or mine.is_sparse or its.is_sparse or not torch.equal(a, b):
            return False
        if float((mine - its).abs().max()) > _SAME * float(mine.abs().max()):
            return False
        drawn |= a.dim() > 1 and bool(a.any())
        moves |= a.dim() > 1 and bool(mine.any())
    return drawn and moves


def is_near_constant(weight: Tensor) -> bool:
    """Whether a weight is one number other than 0 everywhere, give or take a tenth of it."""
    mean, std = float(weight.detach().float().mean()), float(weight.detach().float().std(correction=0))
    return std <= _NEAR_CONSTANT * abs(mean) and mean != 0


def near_constant(model: nn.Module) -> tuple[str, ...]:
    """Layers whose trainable weight is one number everywhere, give or take a tenth of it.

    None where these are the fewer, and where each has a single unit, which no other is like.
    """
    found, num_others, are_several = [], 0, False
    for name, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False)).get("weight") if isinstance(module, _WEIGHTED) else None
        if own is None or not own.requires_grad or own.numel() < _FEWEST_WEIGHTS or nn.parameter.is_lazy(own):
            continue
        if is_near_constant(own):
            found.append(name)
            are_several |= own.numel() > own[0].numel()
        else:
            num_others += 1
    return tuple(found) if are_several and len(found) >= num_others else ()


def parted(model: nn.Module, names: tuple[str, ...]) -> tuple[str, ...]:
    """Layers, of those that `near_constant` found before the first step, whose weights differ by more now."""
    now = ((name, getattr(model.get_submodule(name), "weight", None)) for name in names)
    return tuple(name for name, weight in now if isinstance(weight, Tensor) and not is_near_constant(weight))
