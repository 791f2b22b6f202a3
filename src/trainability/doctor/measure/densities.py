"""Likelihoods by change of variables, asked example by example: the sign of the volume, and what is not transformed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import batch_size, map_parts, tensors
from trainability.doctor.measure.kept_numbers import couplings, examples_of, is_normal
from trainability.doctor.measure.randomness import randomness_restored, seed_torch
from trainability.doctor.measure.volumes import moved

_ROWS, _FEWEST, _MOST_DIMENSIONS = 6, 8, 32
_MOST_CANDIDATES = 2  # tensors of the batch
_SAME, _TELLING = 1e-3, 1e-2  # error, and spread, of a logarithm
_EQUAL, _NO_OFFSET = 1e-5, 1e-4  # of a number that no weight changes
_FEWEST_COUPLINGS = 2

Forward = Callable[[Any, Any], Tensor]


class _Squared(TorchFunctionMode):
    """Tensors of so many numbers that are squared."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.numbers, self.found = numbers, list[Tensor]()

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name = getattr(func, "__name__", "").strip("_")
        is_square = name == "square" or (name == "pow" and args[1:] == (2,)) or (name == "mul" and args[0] is args[-1])
        if is_square and isinstance(args[0], Tensor) and args[0].requires_grad and args[0].numel() == self.numbers:
            self.found.append(args[0])
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class _Look:
    """At one example.

    Attributes:
        scale: how often half the squared length of the point made is in the loss.
        rest: of the loss.
        true: the logarithm of the volume, of the point made by the point given.
        kept: numbers of the point made, each of which depends on one number of the point given: their places, the multiple of
            it, and what is added.
    """

    scale: float
    rest: float
    true: float
    kept: dict[tuple[int, int], tuple[float, float]]


def of_densities(model: nn.Module, batch: Any, forward: Forward, batches: Iterable[Any] = ()) -> dict[str, Any]:
    """Fields of `Facts` about a loss that is minus a normal log-density by change of variables.

    Args:
        model: runs as it is; its weights are moved and put back, as many flows are the identity at their start.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.
        batches: of the training loader, of which up to 2,000 examples are read.

    Returns:
        `volume_turned`: whether, for each example alone, the loss is a multiple of half the squared length of some point of as
        many numbers as a tensor of the batch has for the example, *plus* the logarithm of the determinant of the point's
        Jacobian by that tensor, times the same, and a constant; to 1e-3. `kept_by_flow`: of a point's numbers, with this sign
        or the right one, how many are numbers of the example times one number and plus another, which are the same for all
        examples and weights, and of how many, where some are and others are not; else None, and also where fewer than two
        couplings read nothing but these, as where the model is not given the point, and where they may be standard normal, so
        that nothing is left to change.
    """
    size = batch_size(batch)
    if size is None or size < _FEWEST:
        return {}
    each = [(place, t) for place, t in tensors(batch) if t.is_floating_point() and t.dim() > 1 and len(t) == size]
    for place, points in [(p, t) for p, t in each if 1 < t[0].numel() <= _MOST_DIMENSIONS][:_MOST_CANDIDATES]:
        with moved(model):
            looks = [_look(model, batch, forward, points, row) for row in range(_ROWS)]
        seen = [look for look in looks if look is not None]
        if len(seen) < _ROWS or any(abs(look.scale / seen[0].scale - 1) > _SAME for look in seen):
            continue
        with moved(model, by=2.0):  # the volume of each step may be the same for all examples
            more = _look(model, batch, forward, points, 0)
        turned, right = (_is_likelihood(seen, more, sign) for sign in (1.0, -1.0))
        if turned or right:
            same = _kept([*seen, more])
            is_idle = 0 < len(same) < points[0].numel() and _is_idle(model, batch, forward, points, same)
            is_idle = is_idle and not is_normal(_made(examples_of(batches, place, points), same))
            kept = (len(same), points[0].numel()) if is_idle else None
            return {"volume_turned": turned and not right, "kept_by_flow": kept}
    return {}


def _is_likelihood(seen: Sequence[_Look], more: _Look | None, sign: float) -> bool:
    """Whether the rest of each loss is the logarithm of the volume with this sign, and a constant."""
    if not all(math.isfinite(look.true) for look in seen):
        return False
    if max(look.true for look in seen) - min(look.true for look in seen) < _TELLING:
        if more is None or not math.isfinite(more.true) or abs(more.true - seen[0].true) < _TELLING:
            return False
        seen = [*seen, more]
    off = [look.rest / seen[0].scale - sign * look.true for look in seen]
    return max(off) - min(off) < _SAME * (1 + max(abs(look.true) for look in seen))


def _kept(looks: Sequence[_Look | None]) -> dict[tuple[int, int], tuple[float, float]]:
    """Numbers that are the same multiple, plus the same number, at every example and for other weights.

    Of a Gaussian likelihood whose variance is known, a target is one over the deviation, but what is added is the mean.
    """
    if any(look is None for look in looks):
        return {}
    kept = [look.kept for look in looks if look is not None]

    def is_same(key: tuple[int, int]) -> bool:
        by, plus = kept[0][key]
        others = [other.get(key, (0.0, 0.0)) for other in kept]
        slight = _NO_OFFSET * (1 + abs(by) + abs(plus))
        return all(abs(b - by) <= _EQUAL * abs(by) and abs(p - plus) <= slight for b, p in others)

    return {key: kept[0][key] for key in kept[0] if is_same(key)}


def _is_idle(
    model: nn.Module, batch: Any, forward: Forward, points: Tensor, kept: dict[tuple[int, int], tuple[float, float]]
) -> bool:
    """Whether several couplings are given the numbers that are kept, and nothing else of the point."""
    own, alone = _alone(batch, points, 0)
    with torch.enable_grad(), randomness_restored():
        return couplings(model, lambda: forward(model, alone), own, {place for _, place in kept}) >= _FEWEST_COUPLINGS


def _made(examples: Tensor, kept: dict[tuple[int, int], tuple[float, float]]) -> Tensor:
    """The numbers that are kept, as the flow hands them on."""
    return torch.stack([by * examples[:, place] + plus for (_, place), (by, plus) in kept.items()], dim=1)


def _alone(batch: Any, points: Tensor, row: int) -> tuple[Tensor, Any]:
    """One example's point, with a gradient, and the batch of this example alone."""
    size, own = len(points), points[row : row + 1].detach().clone().requires_grad_()

    def cut(part: Any) -> Any:
        if not isinstance(part, Tensor):
            return map_parts(part, cut)
        return own if part is points else part[row : row + 1] if part.dim() and len(part) == size else part

    return own, cut(batch)


def _look(model: nn.Module, batch: Any, forward: Forward, points: Tensor, row: int) -> _Look | None:
    own, alone = _alone(batch, points, row)
    with _Squared(own.numel()) as squared, torch.enable_grad(), randomness_restored():
        seed_torch(0)
        loss = forward(model, alone).sum()
    for z in reversed(squared.found):
        (found,) = torch.autograd.grad(loss, [z], allow_unused=True, retain_graph=True)
        slope, z_now = found.detach() if found is not None else None, z.detach()
        length = float(z_now.double().square().sum())
        scale = float((slope * z_now).sum()) / length if slope is not None and length else 0.0
        if slope is None or scale <= 0 or float((slope - scale * z_now).abs().max()) > _SAME * scale * float(z_now.abs().max()):
            continue
        rows = [torch.autograd.grad(n, own, retain_graph=True, allow_unused=True)[0] for n in z.flatten()]
        if any(r is None for r in rows):
            continue
        jacobian = torch.stack([r.detach().flatten() for r in rows if r is not None]).double()
        true = float(torch.linalg.slogdet(jacobian)[1])
        return _Look(scale, float(loss.detach()) - scale * length / 2, true, _single(jacobian, own.detach(), z_now))
    return None


def _single(jacobian: Tensor, own: Tensor, made: Tensor) -> dict[tuple[int, int], tuple[float, float]]:
    """Rows with one number that is not zero, by their place and its: the number, and what is added to so much of the point."""
    rows = [(k, row.nonzero().flatten().tolist()) for k, row in enumerate(jacobian)]
    given, made = own.flatten().double(), made.flatten().double()
    by = {(k, places[0]): float(jacobian[k, places[0]]) for k, places in rows if len(places) == 1}
    return {(k, place): (b, float(made[k] - b * given[place])) for (k, place), b in by.items()}
