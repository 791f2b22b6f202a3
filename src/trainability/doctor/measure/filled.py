"""Targets that are missing, in whose place a number was filled in: it stands there whatever the input is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.instead import exchanged
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.measure.relation import FEWEST_EXAMPLES, relation

_LEAST, _MOST = 0.3, 0.95  # share of the examples with the number
_MOST_COLUMNS, _MOST_EXAMPLES = 64, 600
_NEXT, _SIDE = 0.15, 0.1  # the next frequent value over it; share of the other values that lie below and above
_FEWEST_VALUES = 20  # of a column: with fewer they are kinds, not numbers
_RIDGE = 0.1
_MOST_IN_THREES, _SHUFFLES = 32, 99  # columns, of which there are 4,960 threes
_UNRELATED, _RELATED = 3.5, 8.0  # standard deviations above shuffled ones: see `relation`


def filled(
    model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], batches: Iterable[Any]
) -> tuple[str, float, float] | None:
    """Find a column of the targets in which one number stands in the place of what is not known.

    The number lies between the other values, of which none is nearly as frequent; these are related to the input, and where the
    number stands is not, neither by one column or two nor by a product of three, and the others' map has the answers there no
    nearer to it, as behind a threshold; so that nothing but chance puts it there; and the loss asks for it.

    Args:
        model: runs as it is.
        batch: of which some tensors go into layers, and another holds the targets.
        forward: of (model, batch), the loss.
        batches: of the training loader.

    Returns:
        Which tensor of the batch it is, the number, and its share of the examples; None where there is none.
    """
    given = given_to_modules(model, batch, forward)
    named = dict(tensors(batch))
    inputs = [name for name, t in named.items() if t.data_ptr() in given and t.dim() > 1]
    targets = [
        name
        for name, t in named.items()
        if t.data_ptr() not in given and t.is_floating_point() and 0 < t.dim() <= 2 and t[0].numel() <= _MOST_COLUMNS
    ]
    targets = [name for name in targets if any(_between(c) is not None for c in _columns(named[name]))]
    if not inputs or not targets:
        return None
    rows = read_together(batches, [inputs[0], *targets])
    if rows is None:
        return None
    for name in targets:
        x, columns = rows[inputs[0]], _columns(rows[name])
        for column in columns:
            if (value := _between(column)) is None:
                continue
            there = column == value
            if len(column) - int(there.sum()) < FEWEST_EXAMPLES or len(column.unique()) < _FEWEST_VALUES:
                continue
            where, told = relation(x, there.long()), relation(x[~there], column[~there][:, None])
            if where is None or told is None or where.z >= _UNRELATED or told.z <= _RELATED:
                continue
            if _is_near(x, column, there, value) or _goes_with_three(x, there):
                continue
            if _is_asked(model, batch, forward, named[name], value):
                return name, value, float(there.float().mean())
    return None


def _is_near(inputs: Tensor, column: Tensor, there: Tensor, value: float) -> bool:
    """Whether a linear map, fitted to half of the other examples, comes nearer to the number where it stands than elsewhere.

    A dead zone and a soft threshold set what is small to zero, on both sides, which no linear map of the input tells.
    """
    x = inputs.flatten(1).double()
    x = (x - x.mean(dim=0)) / x.std(dim=0).clamp(min=1e-6)
    rows = (~there).nonzero()[:, 0]
    fitted, others = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    kernel = x[fitted] @ x[fitted].T
    ridge = _RIDGE * kernel.diagonal().mean() * torch.eye(len(fitted), dtype=kernel.dtype)
    middle = column[fitted].double().mean()
    weights = x[fitted].T @ torch.linalg.solve(kernel + ridge, column[fitted].double() - middle)
    away = (x @ weights + middle - value).abs()
    near, far = away[there], away[others]
    error = (near.var() / len(near) + far.var() / len(far)).sqrt()
    return float((far.mean() - near.mean()) / error.clamp(min=1e-12)) > _UNRELATED


def _goes_with_three(inputs: Tensor, there: Tensor) -> bool:
    """Whether a product of three columns of the input, or of their signs, tells where the number stands.

    A gate that three inputs open together, as by an exclusive or, has to do with none of them and with no two.
    """
    x = inputs.flatten(1).float()
    if not 3 <= x.shape[1] <= _MOST_IN_THREES:
        return False
    x = (x - x.mean(dim=0)) / x.std(dim=0).clamp(min=1e-6)
    threes = torch.combinations(torch.arange(x.shape[1]), 3)
    products = torch.cat([each[:, threes].prod(dim=2) for each in (x, x.sign())], dim=1)
    products = (products - products.mean(dim=0)) / products.norm(dim=0).clamp(min=1e-6)
    rng = torch.Generator().manual_seed(0)
    orders = [torch.arange(len(x)), *(torch.randperm(len(x), generator=rng) for _ in range(_SHUFFLES))]
    marks = torch.stack([there[order] for order in orders], dim=1).float()
    strongest = (products.T @ (marks - marks.mean(dim=0))).abs().amax(dim=0)
    return float((strongest[0] - strongest[1:].mean()) / strongest[1:].std().clamp(min=1e-12)) >= _UNRELATED


def _columns(target: Tensor) -> list[Tensor]:
    return list(target.detach().cpu().reshape(len(target), -1).T)


def _between(column: Tensor) -> float | None:
    """The number that many examples have, where the others lie on both sides of it and have none as often by far."""
    if not bool(column.isfinite().all()):
        return None
    values, counts = column.unique(return_counts=True)
    value, share = float(values[counts.argmax()]), float(counts.max()) / len(column)
    if not _LEAST <= share <= _MOST or float(counts.sort().values[-2]) > _NEXT * float(counts.max()):
        return None
    below = float((column[column != value] < value).float().mean())
    return value if _SIDE <= below <= 1 - _SIDE else None


def given_to_modules(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> set[int]:
    """Where the tensors lie that go into modules."""
    seen: set[int] = set()

    def look(module: nn.Module, args: Any, kwargs: Any) -> None:
        seen.update(t.data_ptr() for _, t in tensors([args, kwargs]))

    handles = [module.register_forward_pre_hook(look, with_kwargs=True) for module in model.modules()]
    try:
        with torch.enable_grad(), randomness_restored():
            forward(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def read_together(batches: Iterable[Any], names: list[str], *, most: int = _MOST_EXAMPLES) -> dict[str, Tensor] | None:
    """These tensors of the loader's first examples, at most so many; None where batches lack them, or do not fit together."""
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    count = 0
    with randomness_restored(), generators_restored(batches):
        for each in batches:
            found = dict(tensors(each))
            if any(name not in found or len(found[name]) != len(found[names[0]]) for name in names):
                return None
            for name in names:
                parts[name].append(found[name].detach().cpu())
            count += len(found[names[0]])
            if count >= most:
                break
    if not count or any(len({t.shape[1:] for t in part}) != 1 for part in parts.values()):
        return None
    return {name: torch.cat(part)[:most] for name, part in parts.items()}


def _is_asked(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], target: Tensor, value: float) -> bool:
    """Whether the loss has a slope where the number stands, as it has none behind a mask."""
    given = target.detach().clone().requires_grad_()
    with torch.enable_grad(), randomness_restored():
        loss = forward(model, exchanged(batch, target, given * 1)).sum()  # no leaf: a loss may write into its targets
        slope = torch.autograd.grad(loss, given, allow_unused=True)[0] if loss.requires_grad else None
    return slope is not None and bool((slope[target == value] != 0).any())
