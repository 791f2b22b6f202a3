"""How much of labels is told by tokens or by numbers beside them: fitted on some places, asked of others."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_PRIOR = 1.0  # places that a token counts beside those where it was seen
_RIDGE = 1e-2
_NEIGHBOURS, _FEW_COLUMNS, _MOST_FITTED, _MOST_ASKED = 8, 16, 3000, 800
_MOST_NAMES, _BINS = 256, 16


def explained(given: Tensor, labels: Tensor, is_fitted: Tensor) -> float:
    """The share of the labels' variance, a column for each class, that inputs explain at places they were not fitted to.

    Few places, or many kinds of tokens, make it smaller and never larger.

    Args:
        given: (places,) numbers of tokens from 0 on, or (places, ...) of numbers.
        labels: (places,) classes from 0 on.
        is_fitted: (places,) bool.
    """
    if not given.is_floating_point():
        return _by_name(given, labels, is_fitted)
    columns = given.reshape(len(given), -1).double()
    found = _by_line(torch.cat([columns, columns.square()], dim=1), labels, is_fitted)
    return max(found, _by_neighbours(columns, labels, is_fitted)) if columns.shape[1] <= _FEW_COLUMNS else found


def explained_together(given: Sequence[Tensor], labels: Tensor, is_fitted: Tensor) -> float:
    """The same of several inputs, each of which adds its own part."""
    if not given[0].is_floating_point():
        kinds = int(max(x.max() for x in given)) + 1
        if kinds > _MOST_NAMES:
            return max(explained(x, labels, is_fitted) for x in given)
        return _by_line(torch.cat([torch.nn.functional.one_hot(x, kinds) for x in given], dim=1).double(), labels, is_fitted)
    columns = torch.cat([x.reshape(len(x), -1) for x in given], dim=1).double()
    return _by_line(torch.cat([columns, columns.square()], dim=1), labels, is_fitted)


def explained_by_pairs(one: Tensor, other: Tensor, labels: Tensor, is_fitted: Tensor) -> float:
    """The same of two tokens beside each other, each pair by itself; of numbers, their products."""
    if one.is_floating_point():
        columns = [x.reshape(len(x), -1)[:, :_FEW_COLUMNS].double() for x in (one, other)]
        return _by_line((columns[0][:, :, None] * columns[1][:, None]).flatten(1), labels, is_fitted)
    _, pairs = (one * (int(other.max()) + 1) + other).unique(return_inverse=True)
    return _by_name(pairs, labels, is_fitted)


def binned(column: Tensor) -> Tensor:
    """Numbers by which sixteenth of them they are in."""
    edges = torch.quantile(column.double()[:: max(1, len(column) // 10_000)], torch.linspace(0, 1, _BINS + 1).double()[1:-1])
    return torch.bucketize(column.double(), edges)


def _by_name(given: Tensor, labels: Tensor, is_fitted: Tensor) -> float:
    kinds, classes = int(given.max()) + 1, int(labels.max()) + 1
    counts = torch.zeros(kinds, classes, dtype=torch.double)
    counts.index_put_((given[is_fitted], labels[is_fitted]), torch.ones((), dtype=torch.double), accumulate=True)
    prior = counts.sum(dim=0) / counts.sum()
    shares = (counts + _PRIOR * prior) / (counts.sum(dim=1, keepdim=True) + _PRIOR)
    return _skill(shares[given[~is_fitted]], labels, is_fitted)


def _by_line(columns: Tensor, labels: Tensor, is_fitted: Tensor) -> float:
    mean, std = columns[is_fitted].mean(dim=0), columns[is_fitted].std(dim=0)
    x = (columns - mean)[:, std > 0] / std[std > 0]
    wanted = torch.nn.functional.one_hot(labels).double()
    prior = wanted[is_fitted].mean(dim=0)
    fitted, ridge = x[is_fitted], _RIDGE * int(is_fitted.sum()) * torch.eye(x.shape[1], dtype=x.dtype)
    weights = torch.linalg.solve(fitted.T @ fitted + ridge, fitted.T @ (wanted[is_fitted] - prior))
    return _skill(prior + x[~is_fitted].clamp(-5, 5) @ weights, labels, is_fitted)


def _by_neighbours(columns: Tensor, labels: Tensor, is_fitted: Tensor) -> float:
    x = columns / columns.std(dim=0).clamp(min=1e-12)
    kept = torch.zeros_like(is_fitted)
    kept[is_fitted.nonzero().flatten()[:_MOST_FITTED]] = True
    kept[(~is_fitted).nonzero().flatten()[:_MOST_ASKED]] = True
    x, labels, is_fitted = x[kept], labels[kept], is_fitted[kept]
    if int(is_fitted.sum()) < _NEIGHBOURS:
        return 0.0
    near = torch.cdist(x[~is_fitted], x[is_fitted]).topk(_NEIGHBOURS, largest=False).indices
    wanted = torch.nn.functional.one_hot(labels).double()[is_fitted]
    return _skill(wanted[near].mean(dim=1), labels, is_fitted)


def _skill(shares: Tensor, labels: Tensor, is_fitted: Tensor) -> float:
    """One less the squared error of the shares that each class is given, over that of the classes' frequencies."""
    wanted = torch.nn.functional.one_hot(labels).double()
    prior, wanted = wanted[is_fitted].mean(dim=0), wanted[~is_fitted]
    plain = float((wanted - prior).square().sum())
    return max(0.0, 1 - float((wanted - shares[:, : wanted.shape[1]]).square().sum()) / plain) if plain > 0 else 0.0
