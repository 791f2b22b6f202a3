"""Pairs whose label does not depend on their order, under a model that answers the exchanged pair with the opposite."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import first_tensor
from trainability.doctor.measure.randomness import randomness_restored, seed_torch
from trainability.doctor.measure.workspace import set_training

_FEWEST = 32  # pairs, and a quarter of them of either label
_EQUAL = 1e-4  # of how far two answers are apart
_SURE = 4.0  # standard errors between the distances of both labels
_SIDES = 2
_ORDERS, _DIRECTED = 50, 3.0  # random labels; standard deviations above them


def one_way_pairs(model: nn.Module, inputs: tuple[Any, ...], target: Tensor | None) -> float | None:
    """Find a model that says of (b, a) the opposite of what it says of (a, b), where labels say how near the two are.

    A difference that goes into a linear layer does that: w (a - b) + c. Whether two are the same needs their distance.

    Args:
        model: runs in eval mode and without gradients; the caller puts modes and buffers back.
        inputs: what it takes: two tensors of one shape, or one with both halves along dimension 1.
        target: a label of two values for each pair.

    Returns:
        By how many standard errors the mean distance of the inputs differs between the labels, 4 or more; None of other models,
        of answers that are opposite at the initial weights alone, and of labels that go by the signed difference, too, such as
        "greater by more than t".
    """
    if target is None or target.numel() != len(target) or target.numel() < _FEWEST:
        return None
    labels, values = target.flatten(), target.unique()
    if len(values) != 2 or min(int((labels == value).sum()) for value in values) < _FEWEST // 4:
        return None
    for sides, joined in _pairs(inputs, len(labels)):
        is_first = (labels == values[0]).cpu()
        differences = (sides[0] - sides[1]).flatten(1).double().cpu()
        distances = differences.abs().mean(dim=1)
        apart = _difference(distances[is_first], distances[~is_first])
        if apart < _SURE or _has_direction(differences, is_first):
            continue
        set_training(model, False)
        if _is_opposite(model, sides, is_joined=joined) and _stays_opposite(model, sides, is_joined=joined):
            return apart
    return None


def _pairs(inputs: tuple[Any, ...], count: int) -> Iterator[tuple[tuple[Tensor, Tensor], bool]]:
    """What may be the two sides of a pair, and whether they are halves of one tensor."""
    given = [x for x in inputs if isinstance(x, Tensor) and x.is_floating_point() and x.dim() > 1 and len(x) == count]
    if len(given) != len(inputs):
        return
    if len(given) == _SIDES and given[0].shape == given[1].shape:
        yield (given[0], given[1]), False
    elif len(given) == 1 and given[0].shape[1] % _SIDES == 0:
        one, other = given[0].chunk(_SIDES, dim=1)
        yield (one, other), True


def _has_direction(differences: Tensor, is_first: Tensor) -> bool:
    """Whether the mean signed difference is another for each label, more than for labels in random order."""
    generator = torch.Generator().manual_seed(0)

    def between(labels: Tensor) -> float:
        return float((differences[labels].mean(dim=0) - differences[~labels].mean(dim=0)).norm())

    found = torch.tensor([between(is_first[torch.randperm(len(is_first), generator=generator)]) for _ in range(_ORDERS)])
    return between(is_first) > float(found.mean() + _DIRECTED * found.std())


def _stays_opposite(model: nn.Module, sides: tuple[Tensor, Tensor], *, is_joined: bool) -> bool:
    """Whether that holds at other weights: biases that start at zero make many networks odd."""
    kept = [(p, p.detach().clone()) for p in model.parameters()]
    generator = torch.Generator().manual_seed(0)
    try:
        with torch.no_grad():
            for p, value in kept:
                noise = torch.randn(value.shape, generator=generator).to(value)
                p.add_(noise * (0.1 + 0.3 * value.std(correction=0)))
        return _is_opposite(model, sides, is_joined=is_joined)
    finally:
        with torch.no_grad():
            for p, value in kept:
                p.copy_(value)


def _difference(one: Tensor, other: Tensor) -> float:
    error = math.sqrt(float(one.var() / len(one) + other.var() / len(other)))
    return abs(float(one.mean() - other.mean())) / error if error > 0 else 0.0


def _is_opposite(model: nn.Module, sides: tuple[Tensor, Tensor], *, is_joined: bool) -> bool:
    """Whether answers for a pair and for the exchanged pair differ, and lie about one number."""
    answers = []
    for pair in (sides, sides[::-1]):
        with torch.no_grad(), randomness_restored():
            seed_torch(0)
            answer = first_tensor((model(torch.cat(pair, dim=1)) if is_joined else model(*pair),))
        if answer is None or not answer.is_floating_point() or answer.numel() % len(sides[0]):
            return False
        answers.append(answer.double().reshape(len(sides[0]), -1))
    middle, apart = (answers[0] + answers[1]) / 2, (answers[0] - answers[1]).abs()
    size = float(apart.mean())
    return size > 0 and float((middle - middle.mean(dim=0)).abs().max()) <= _EQUAL * size
