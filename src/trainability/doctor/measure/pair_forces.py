"""What a loss of pairs wants of each pair of examples: read exactly off the loss, of outputs at one angle to each other."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import map_parts, tensors
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.owners import in_evaluation, owners
from trainability.doctor.pair_facts import PairForces

_FEWEST, _MOST = 8, 512  # examples, in all calls together
_MOST_BLOCKS = 4  # calls, times what each returns
_SAME = 1e-4  # of the loss: rounding of another order of sums
_SLIGHT = 1e-3  # of the strongest force
_ALIKE = 0.3  # cosine of any two: what is to be at right angles is pushed apart
_NEAR = 0.01  # of the outputs' lengths, where a margin that they meet is met no more
_OF_ONE_LABEL = 0.98  # share of the pairs
_CHOSEN = 0.1  # share of the pairs that are others where outputs lie otherwise
_TIE = 0.05  # distances differ a little, so that the nearest and the farthest are one each


def pair_forces(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], seen: ForwardPass) -> PairForces | None:
    """Look at the gradient of a loss that knows nothing of its outputs but their lengths and angles.

    Such a loss is a function of the products of all pairs, and takes outputs of any width. Of outputs at one angle to each
    other, the gradient of one is a sum of the others, each times what the loss wants of that pair. Where none is pushed apart,
    it is asked again with all of them near each other.

    Args:
        model: returns a tensor (examples, width), or several of that shape, once or in up to four calls; or the module of it
            that is called last does.
        batch: as the loop draws it; its labels are a tensor of whole numbers, one an example.
        forward: of (model, batch), the loss.
        seen: the same pass with the model's own outputs.

    Returns:
        None where the loss changes when all outputs are turned together, takes no other width, or compares no pairs.
    """
    head = _head(model, batch, forward)
    if head is None:
        return None
    asked = _Points(head, model, batch, forward)
    own, fixed = asked.own, asked.fixed
    count = sum(map(len, own))
    if not own or len(own) > _MOST_BLOCKS or not _FEWEST <= count <= _MOST or any(z.shape != own[0].shape for z in own):
        return None
    rng = torch.Generator().manual_seed(0)
    whole = torch.cat(own)
    turn = torch.linalg.qr(torch.randn(whole.shape[1], whole.shape[1], generator=rng))[0].to(whole)
    other = torch.randn(whole.shape, generator=rng).to(whole) * whole.std().clamp(min=1e-6)
    length = float(whole.norm(dim=1).mean())
    points = _at_one_angle(count, rng).to(whole) * length
    with contextlib.suppress(RuntimeError, ValueError, IndexError):  # a loss that asks for its own width, or for probabilities
        with torch.no_grad():
            before, turned, changed = (float(asked.loss(z)) for z in (whole, whole @ turn, other))
        if not all(math.isfinite(loss) for loss in (before, turned, changed)):
            return None
        if abs(turned - before) > _SAME * max(abs(before), _SLIGHT) or abs(changed - before) <= 10 * _SAME * abs(before):
            return None
        wanted = _wanted(asked, points)
        found = _read(wanted, seen, len(fixed)) if wanted is not None else None
        if found is None or wanted is None:
            return found
        if found.num_pushed:
            others = _wanted(asked, _at_one_angle(count, rng).to(whole) * length) if found.num_pulled else None
            return _beside_owners(found, wanted, others, asked, seen) if others is not None else found
        # Unlike ones beyond a margin are left alone, and pushed apart as soon as they come nearer.
        wanted = _wanted(asked, _NEAR * points)
        near = _read(wanted, seen, len(fixed)) if wanted is not None else None
        return near if near is not None and near.num_pushed else found
    return None


def _at_one_angle(count: int, rng: torch.Generator) -> Tensor:
    """Rows of length one, any two of which have a cosine of `_ALIKE`, nearly."""
    apart = math.sqrt(1 - _ALIKE) * torch.eye(count) + _TIE / math.sqrt(count) * torch.randn(count, count, generator=rng)
    return torch.cat([apart, torch.full((count, 1), math.sqrt(_ALIKE))], dim=1)


def _wanted(asked: _Points, points: Tensor) -> Tensor | None:
    """The gradient of the loss by the product of each two rows, of the one's side; what is to be nearer is below zero."""
    points = points.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(asked.loss(points), points, allow_unused=True)
    if gradient is None:
        return None
    wanted = gradient.double() @ torch.linalg.pinv(points.detach().double())
    return wanted if bool(wanted.isfinite().all()) else None


def _pairs(wanted: Tensor) -> tuple[Tensor, Tensor] | None:
    """Which pairs are pulled together, and which are pushed apart, each in the place above the diagonal."""
    wanted = (wanted + wanted.T).fill_diagonal_(0.0)
    limit = _SLIGHT * float(wanted.abs().max())
    upper = torch.ones_like(wanted, dtype=torch.bool).triu(1)
    return ((wanted < -limit) & upper, (wanted > limit) & upper) if limit else None


def _beside_owners(found: PairForces, wanted: Tensor, others: Tensor, asked: _Points, seen: ForwardPass) -> PairForces:
    """Whether rows of one example are pushed apart while rows of two are pulled together, wherever these lie."""
    owner, one, two = asked.owners(), _pairs(wanted), _pairs(others)
    if owner is None or one is None or two is None:
        return found
    (pulled, pushed), (again, _) = one, two
    views = (owner[:, None] == owner[None]).to(pulled.device).triu(1)
    strangers = pulled & again & ~views
    same = _same_label(seen, int(owner.max()) + 1)
    is_labelled = same is not None and (_share(same.cpu()[owner][:, owner], strangers.cpu()) or 0.0) > _OF_ONE_LABEL
    if not bool(views.any()):
        return replace(found, strangers=0)
    # Neighbours that are chosen by where they lie are others for other outputs.
    is_choice = int((pulled ^ again).sum()) > _CHOSEN * int(pulled.sum())
    crossed = bool((pushed[views]).all()) and not is_labelled and not is_choice
    half = len(owner) // 2
    return replace(
        found,
        strangers=int(strangers.sum()) if crossed else 0,
        layout="concatenated"
        if torch.equal(owner[:half], owner[half:])
        else "interleaved"
        if torch.equal(owner[0::2], owner[1::2])
        else None,
    )


def _read(wanted: Tensor, seen: ForwardPass, blocks: int) -> PairForces | None:
    """Pairs whose product the loss wants larger, and those where it wants it smaller."""
    if (pairs := _pairs(wanted)) is None:
        return None
    pulled, pushed = pairs
    one_sided = wanted.clone().fill_diagonal_(0.0)
    limit, upper = _SLIGHT * float((one_sided + one_sided.T).abs().max()), torch.ones_like(pulled).triu(1)
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


def _head(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> nn.Module | None:
    """The model; or, where the step calls its parts, the one that it calls last."""
    running: list[nn.Module] = []
    called: list[nn.Module] = []

    def enter(module: nn.Module, args: Any) -> None:
        if not running:
            called.append(module)
        running.append(module)

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        running.pop()

    hooks = ((m.register_forward_pre_hook(enter), m.register_forward_hook(leave, always_call=True)) for m in model.modules())
    handles = [handle for both in hooks for handle in both]
    try:
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            forward(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return model if any(m is model for m in called) else called[-1] if called else None


class _Points:
    """The loss as a function of the points that a module returns, call by call.

    Attributes:
        own: what it returns, a tensor of points after the other, of those that the loss goes by.
        fixed: which of them no gradient comes through.
    """

    def __init__(self, head: nn.Module, model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> None:
        self._head, self._model, self._batch, self._forward = head, model, batch, forward
        found: list[Tensor] = []
        fixed: list[bool] = []

        def keep(value: Any) -> Any:
            if not _is_points(value):
                return value if isinstance(value, Tensor) else map_parts(value, keep)
            fixed.append(not value.requires_grad)
            found.append(value.detach().clone().requires_grad_(value.requires_grad))
            return found[-1] * 1 if value.requires_grad else value  # no leaf: a loss may write into it

        with torch.enable_grad():
            loss = self._run(keep, batch)
            free = [t for t, is_fixed in zip(found, fixed, strict=True) if not is_fixed]
            slopes = torch.autograd.grad(loss, free, allow_unused=True) if free and loss.requires_grad else ()
        still = {id(t) for t, slope in zip(free, slopes, strict=False) if slope is None}
        self._is_read = [True] * len(found)
        for place in (k for k, t in enumerate(found) if id(t) in still):  # detached, or not used
            self._is_read[place] = self._changes(place, len(found), float(loss.detach()))
        self.own = [t.detach() for t, is_read in zip(found, self._is_read, strict=True) if is_read]
        self.fixed = [is_fixed for is_fixed, is_read in zip(fixed, self._is_read, strict=True) if is_read]

    def loss(self, points: Tensor) -> Tensor:
        """The loss with rows of `points` in the place of the module's; without a gradient for `fixed`."""
        blocks = zip(points.chunk(len(self.fixed)), self.fixed, strict=True)
        rows, is_read = iter(z.detach() if is_fixed else z for z, is_fixed in blocks), iter(self._is_read)

        def swap(value: Any) -> Any:
            if not _is_points(value):
                return value if isinstance(value, Tensor) else map_parts(value, swap)
            return next(rows) if next(is_read) else value

        return self._run(swap, self._batch)

    def _changes(self, place: int, count: int, before: float) -> bool:
        """Whether the loss is another with the negative of one of the tensors."""
        turn = count - 1 - place

        def swap(value: Any) -> Any:
            nonlocal turn
            if not _is_points(value):
                return value if isinstance(value, Tensor) else map_parts(value, swap)
            turn += 1
            return -value if turn == count else value

        with torch.enable_grad():
            return float(self._run(swap, self._batch).detach()) != before

    def owners(self) -> Tensor | None:
        """The example that each row of the module's own is made of."""

        def run(batch: Any) -> list[Tensor]:
            found: list[Tensor] = []

            def keep(value: Any) -> Any:
                found.extend(t.detach().clone() for _, t in tensors(value) if _is_points(t))
                return value

            self._run(keep, batch)
            return [t for t, is_read in zip(found, self._is_read, strict=True) if is_read]

        were = in_evaluation(self._model)
        try:
            return owners(run, self._batch)
        except Exception:  # a step that takes no other batch
            return None
        finally:
            for module, mode in were:
                module.training = mode

    def _run(self, change: Callable[[Any], Any], batch: Any) -> Tensor:
        handle = self._head.register_forward_hook(lambda module, args, output: change(output))
        try:
            with torch.random.fork_rng(devices=[t.device for t in self._head.parameters() if t.is_cuda][:1]):
                torch.manual_seed(0)
                return self._forward(self._model, batch).sum()
        finally:
            handle.remove()
