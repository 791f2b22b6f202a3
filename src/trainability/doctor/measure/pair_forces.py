"""What a loss of pairs wants of each pair of examples: read exactly off the loss, of outputs at one angle to each other."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import map_parts, tensors
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.pair_facts import PairForces

_FEWEST, _MOST = 8, 512  # examples, in all calls together
_MOST_BLOCKS = 4  # calls, times what each returns
_SAME = 1e-4  # of the loss: rounding of another order of sums
_SLIGHT = 1e-3  # of the strongest force
_ALIKE = 0.3  # cosine of any two: what is to be at right angles is pushed apart
_NEAR = 0.01  # of the outputs' lengths, where a margin that they meet is met no more
_TIE = 0.05  # distances differ a little, so that the nearest and the farthest are one each


def pair_forces(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], seen: ForwardPass) -> PairForces | None:
    """Look at the gradient of a loss that knows nothing of its outputs but their lengths and angles.

    Such a loss is a function of the products of all pairs, and takes outputs of any width. Of outputs at one angle to each
    other, the gradient of one is a sum of the others, each times what the loss wants of that pair. Where none is pushed apart,
    it is asked again with all of them near each other.

    Args:
        model: returns a tensor (examples, width), or several of that shape, once or in up to four calls.
        batch: as the loop draws it; its labels are a tensor of whole numbers, one an example.
        forward: of (model, batch), the loss.
        seen: the same pass with the model's own outputs.

    Returns:
        None where the loss changes when all outputs are turned together, takes no other width, or compares no pairs.
    """
    own, fixed = _points(model, batch, forward)
    count = sum(map(len, own))
    if not own or len(own) > _MOST_BLOCKS or not _FEWEST <= count <= _MOST or any(z.shape != own[0].shape for z in own):
        return None
    rng = torch.Generator().manual_seed(0)
    whole = torch.cat(own)
    turn = torch.linalg.qr(torch.randn(whole.shape[1], whole.shape[1], generator=rng))[0].to(whole)
    other = torch.randn(whole.shape, generator=rng).to(whole) * whole.std().clamp(min=1e-6)
    apart = math.sqrt(1 - _ALIKE) * torch.eye(count) + _TIE / math.sqrt(count) * torch.randn(count, count, generator=rng)
    points = torch.cat([apart, torch.full((count, 1), math.sqrt(_ALIKE))], dim=1) * float(whole.norm(dim=1).mean())
    with contextlib.suppress(RuntimeError, ValueError, IndexError):  # a loss that asks for its own width, or for probabilities
        with torch.no_grad():
            before, turned, changed = (float(_loss(model, batch, forward, z, fixed)) for z in (whole, whole @ turn, other))
        if not all(math.isfinite(loss) for loss in (before, turned, changed)):
            return None
        if abs(turned - before) > _SAME * max(abs(before), _SLIGHT) or abs(changed - before) <= 10 * _SAME * abs(before):
            return None
        found = _asked(model, batch, forward, points.to(whole), fixed, seen)
        if found is None or found.num_pushed:
            return found
        # Unlike ones beyond a margin are left alone, and pushed apart as soon as they come nearer.
        near = _asked(model, batch, forward, _NEAR * points.to(whole), fixed, seen)
        return near if near is not None and near.num_pushed else found
    return None


def _asked(
    model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], points: Tensor, fixed: list[bool], seen: ForwardPass
) -> PairForces | None:
    points.requires_grad_()
    with torch.enable_grad():
        loss = _loss(model, batch, forward, points, fixed)
        (gradient,) = torch.autograd.grad(loss, points, allow_unused=True)
    if gradient is None:
        return None
    return _read(gradient.double() @ torch.linalg.pinv(points.detach().double()), seen, len(fixed))


def _read(wanted: Tensor, seen: ForwardPass, blocks: int) -> PairForces | None:
    """Pairs whose product the loss wants larger, and those where it wants it smaller."""
    if not bool(wanted.isfinite().all()):
        return None
    one_sided = wanted.clone().fill_diagonal_(0.0)
    wanted = (wanted + wanted.T).fill_diagonal_(0.0)
    limit = _SLIGHT * float(wanted.abs().max())
    if limit == 0.0:
        return None
    upper = torch.ones_like(wanted, dtype=torch.bool).triu(1)
    pulled, pushed = (wanted < -limit) & upper, (wanted > limit) & upper
    same = _same_label(seen, len(wanted))
    return PairForces(
        num_examples=len(wanted),
        num_pulled=int(pulled.sum()),
        num_pushed=int(pushed.sum()),
        alike_pulled=_share(same, pulled),
        alike_pushed=_share(same, pushed),
        num_alike=int((same & upper.to(same.device)).sum()) if same is not None else None,
        num_mutual=int((pulled & (one_sided < -limit / 4) & (-limit / 4 > one_sided.T)).sum()),
        num_blocks=blocks,
        strangers=_strangers(pulled, pushed, blocks),
        views_pulled=blocks == 2 and bool(_block(pulled, 0, 1, 2).diagonal().all()),
    )


def _block(pairs: Tensor, a: int, b: int, blocks: int) -> Tensor:
    """Pairs of a row of the one tensor and a row of the other."""
    size = len(pairs) // blocks
    return pairs[a * size : (a + 1) * size, b * size : (b + 1) * size]


def _strangers(pulled: Tensor, pushed: Tensor, blocks: int) -> int:
    """Pairs of unlike rows that are pulled together where all pairs of like rows, two views of one, are pushed apart."""
    crossed = [(a, b) for a, b in combinations(range(blocks), 2) if bool(_block(pushed, a, b, blocks).diagonal().all())]
    return sum(int(_block(pulled, a, b, blocks).sum()) for a, b in crossed)


def _share(same: Tensor | None, pairs: Tensor) -> float | None:
    return float(same[pairs].double().mean()) if same is not None and bool(pairs.any()) else None


def _same_label(seen: ForwardPass, size: int) -> Tensor | None:
    """Which pairs are of one label; None without labels, or where two tensors may be them."""
    found = [
        t for _, t in seen.batch if t.dim() == 1 and len(t) == size and not t.is_floating_point() and t.dtype != torch.bool
    ]
    if len(found) != 1 or not 2 <= len(found[0].unique()) < size:
        return None
    return found[0][:, None] == found[0][None]


def _is_points(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() == 2 and value.shape[1] > 1 and value.is_floating_point()


def _points(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> tuple[list[Tensor], list[bool]]:
    """What the model returns, a tensor of points after the other, call by call; and which of them no gradient comes through."""
    found: list[Tensor] = []
    fixed: list[bool] = []

    def keep(module: nn.Module, args: Any, output: Any) -> None:
        points = [t for _, t in tensors(output) if _is_points(t)]
        found.extend(t.detach() for t in points)
        fixed.extend(not t.requires_grad for t in points)

    handle = model.register_forward_hook(keep)
    try:
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            forward(model, batch)
    finally:
        handle.remove()
    return found, fixed


def _loss(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], points: Tensor, fixed: list[bool]) -> Tensor:
    """The loss with rows of `points` in the place of what the model returns, call by call; without a gradient for `fixed`."""
    rows = iter(z.detach() if is_fixed else z for z, is_fixed in zip(points.chunk(len(fixed)), fixed, strict=True))

    def swap(value: Any) -> Any:
        return next(rows) if _is_points(value) else value if isinstance(value, Tensor) else map_parts(value, swap)

    handle = model.register_forward_hook(lambda module, args, output: swap(output))
    try:
        with torch.random.fork_rng(devices=[points.device] if points.is_cuda else []):
            torch.manual_seed(0)
            return forward(model, batch).sum()
    finally:
        handle.remove()
