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
from trainability.doctor.measure.collapse import same_is_lowest
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.graph import leaves_of
from trainability.doctor.measure.owners import in_evaluation, owners
from trainability.doctor.measure.randomness import randomness_restored, seed_torch
from trainability.doctor.pair_facts import PairForces

_FEWEST, _MOST = 8, 512  # examples, in all calls together
_MOST_BLOCKS = 4  # calls, times what each returns
_MOST_CALLS = 16
_SAME = 1e-4  # of the loss: rounding of another order of sums
_SLIGHT = 1e-3  # of the strongest force
_ALIKE = 0.3  # cosine of any two: what is to be at right angles is pushed apart
_NEAR = 0.01  # of the outputs' lengths, where a margin that they meet is met no more
_LONGER = (10.0, 100.0, 1000.0)  # times the outputs' lengths, where distances are larger than measured ones
_OF_ONE_LABEL = 0.98  # share of the pairs
_CHOSEN = 0.1  # share of the pairs that are others where outputs lie otherwise
_TIE = 0.05  # distances differ a little, so that the nearest and the farthest are one each


def pair_forces(
    model: nn.Module,
    batch: Any,
    forward: Callable[[Any, Any], Tensor],
    seen: ForwardPass,
    *,
    managed: set[str] | None = None,
) -> PairForces | None:
    """Look at the gradient of a loss that knows nothing of its outputs but their lengths and angles.

    Such a loss is a function of the products of all pairs, and takes outputs of any width. Of outputs at one angle to each
    other, the gradient of one is a sum of the others, each times what the loss wants of that pair. Where none is pushed apart,
    it is asked again with all of them near each other; where none is pulled together, with all at right angles, and with longer
    ones: a distance or a similarity that is to be a measured number is pushed below it, and pulled above it.

    Args:
        model: it, or modules of it that the step calls, return a tensor (examples, width), or several of that shape, up to four
            in all calls that the loss goes by itself.
        batch: as the loop draws it; its labels are a tensor of whole numbers, one an example.
        forward: of (model, batch), the loss.
        seen: the same pass with the model's own outputs.
        managed: names of the parameters that the optimizer holds: what is made of no such one stands still; None if unknown.

    Returns:
        None where the loss changes when all outputs are turned together, takes no other width, or compares no pairs.
    """
    heads = _heads(model, batch, forward)
    if not heads:
        return None
    asked = _Points(heads, model, batch, forward, managed)
    own, fixed = asked.own, asked.fixed
    count = sum(map(len, own))
    if not own or len(own) > _MOST_BLOCKS or not _FEWEST <= count <= _MOST or any(z.shape != own[0].shape for z in own):
        return None
    rng = torch.Generator().manual_seed(0)
    whole = torch.cat(own)
    turn = torch.linalg.qr(torch.randn(whole.shape[1], whole.shape[1], generator=rng))[0].to(whole)
    other = torch.randn(whole.shape, generator=rng).to(whole) * whole.std().clamp(min=1e-6)
    length = float(whole.norm(dim=1).mean())
    # Dropout, which is off here, makes two views of a sentence differ.
    rows = None if any(isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0 for m in model.modules()) else whole
    points = _at_one_angle(count, rng).to(whole) * length
    with contextlib.suppress(RuntimeError, ValueError, IndexError):  # a loss that asks for its own width, or for probabilities
        with torch.no_grad():
            before, turned, changed = (float(asked.loss(z)) for z in (whole, whole @ turn, other))
        if not all(math.isfinite(loss) for loss in (before, turned, changed)):
            return None
        if abs(turned - before) > _SAME * max(abs(before), _SLIGHT) or abs(changed - before) <= 10 * _SAME * abs(before):
            return None
        wanted = _wanted(asked, points)
        found = _read(wanted, seen, len(fixed), rows) if wanted is not None else None
        if found is None or wanted is None:
            return found
        if found.num_pushed:
            if not found.num_pulled:
                return _pulled_elsewhere(found, asked, wanted, points)
            others = _wanted(asked, _at_one_angle(count, rng).to(whole) * length)
            return _beside_owners(found, wanted, others, asked, seen) if others is not None else found
        # Unlike ones beyond a margin are left alone, and pushed apart as soon as they come nearer.
        wanted = _wanted(asked, _NEAR * points)
        near = _read(wanted, seen, len(fixed), rows) if wanted is not None else None
        if near is not None and wanted is not None and near.num_pushed:
            return near if near.num_pulled else _pulled_elsewhere(near, asked, wanted, _NEAR * points)
        return replace(found, same_is_lowest=not found.num_mutual or same_is_lowest(asked.loss, points))
    return None


def _at_one_angle(count: int, rng: torch.Generator) -> Tensor:
    """Rows of length one, any two of which have a cosine of `_ALIKE`, nearly."""
    apart = math.sqrt(1 - _ALIKE) * torch.eye(count) + _TIE / math.sqrt(count) * torch.randn(count, count, generator=rng)
    return torch.cat([apart, torch.full((count, 1), math.sqrt(_ALIKE))], dim=1)


def _pulled_elsewhere(found: PairForces, asked: _Points, wanted: Tensor, points: Tensor) -> PairForces:
    """Count pairs that the loss pulls together where outputs lie otherwise, and none where they lie at `points`."""
    count, length = len(points), float(points.norm(dim=1).mean())
    right_angled = length * torch.eye(count, count + 1).to(points)  # exact: at its own minimum a loss pulls by rounding alone
    for scale, others in ((1.0, right_angled), *((scale, scale * points) for scale in _LONGER)):
        try:
            again = _wanted(asked, others)
        except (RuntimeError, ValueError):
            continue
        # By the loss's own change, which rounding alone makes where a softmax has come to 1.
        least = _SLIGHT * _strongest(wanted) / scale**2
        if again is not None and (pairs := _pairs(again, least)) is not None and bool(pairs[0].any()):
            return replace(found, num_pulled=int(pairs[0].sum()))
    return found


def _wanted(asked: _Points, points: Tensor) -> Tensor | None:
    """The gradient of the loss by the product of each two rows, of the one's side; what is to be nearer is below zero."""
    points = points.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(asked.loss(points), points, allow_unused=True)
    if gradient is None:
        return None
    wanted = gradient.double() @ torch.linalg.pinv(points.detach().double())
    return wanted if bool(wanted.isfinite().all()) else None


def _strongest(wanted: Tensor) -> float:
    """Of the forces between two, either way."""
    return float((wanted + wanted.T).fill_diagonal_(0.0).abs().max())


def _pairs(wanted: Tensor, least: float = 0.0) -> tuple[Tensor, Tensor] | None:
    """Which pairs are pulled together, and which are pushed apart, each in the place above the diagonal; `least` counts."""
    wanted = (wanted + wanted.T).fill_diagonal_(0.0)
    limit = max(_SLIGHT * _strongest(wanted), least)
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


def _read(wanted: Tensor, seen: ForwardPass, blocks: int, rows: Tensor | None) -> PairForces | None:
    """Pairs whose product the loss wants larger, and pairs whose product it wants smaller; with the model's rows, if given."""
    if (pairs := _pairs(wanted)) is None:
        return None
    pulled, pushed = pairs
    one_sided = wanted.clone().fill_diagonal_(0.0)
    limit, upper = _SLIGHT * _strongest(wanted), torch.ones_like(pulled).triu(1)
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
        equal_views=rows is not None and _has_equal_views(rows, pulled),
    )


def _has_equal_views(rows: Tensor, pulled: Tensor) -> bool:
    """Whether each row of the first half equals the row of the second half that the loss pulls it to."""
    half = len(rows) // 2
    pairs = pulled[:half, half:]
    is_of_two = len(rows) == 2 * half and bool(pairs.diagonal().all()) and int(pairs.sum()) == half
    return is_of_two and torch.equal(rows[:half], rows[half:]) and not torch.equal(rows[:1], rows[1:2])


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


def _heads(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> list[nn.Module]:
    """Modules that return points, inside none that does: the model, or, where it returns none or is not called, its parts."""
    starts: list[int] = []
    found: list[nn.Module] = []

    def enter(module: nn.Module, args: Any) -> None:
        starts.append(len(found))

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        start = starts.pop()
        if any(_is_points(t) for _, t in tensors(output)):
            found[start:] = [module]

    hooks = ((m.register_forward_pre_hook(enter), m.register_forward_hook(leave, always_call=True)) for m in model.modules())
    handles = [handle for both in hooks for handle in both]
    try:
        with torch.enable_grad(), randomness_restored():
            seed_torch(0)
            forward(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return list(dict.fromkeys(found)) if len(found) <= _MOST_CALLS else []


class _Points:
    """The loss as a function of the points that modules return, call by call; the modules do not run.

    Attributes:
        own: what they return, a tensor of points after the other, of those that the loss goes by.
        fixed: which of them no gradient comes through.
    """

    def __init__(
        self,
        heads: list[nn.Module],
        model: nn.Module,
        batch: Any,
        forward: Callable[[Any, Any], Tensor],
        managed: set[str] | None,
    ) -> None:
        self._heads, self._model, self._batch, self._forward = heads, model, batch, forward
        self._returned: list[Any] = []
        found = self._run(self._returned.append, batch)
        trained = {id(p) for name, p in model.named_parameters() if managed is None or name in managed}
        leaves = [leaves_of(t)[0] if t.grad_fn is not None else {id(t)} for t in found]
        moves = [t.requires_grad and (managed is None or bool(own & trained)) for t, own in zip(found, leaves, strict=True)]
        free = [t.detach().clone().requires_grad_(does) for t, does in zip(found, moves, strict=True)]
        with torch.enable_grad():
            loss = self._with([t * 1 if t.requires_grad else t for t in free])  # no leaf: a loss may write into it
            given = [t for t in free if t.requires_grad]
            slopes = torch.autograd.grad(loss, given, allow_unused=True) if given and loss.requires_grad else ()
            still = {id(t) for t, slope in zip(given, slopes, strict=False) if slope is None}
            # Detached, or not used: then the loss is the same with the negative.
            others = ([-t.detach() if t is one else t.detach() for t in free] for one in free)
            before, self._free = float(loss.detach()), [t.detach() for t in free]
            self._is_read = [
                id(one) not in still or float(self._with(other).detach()) != before
                for one, other in zip(free, others, strict=True)
            ]
        self.own = [t.detach() for t, is_read in zip(found, self._is_read, strict=True) if is_read]
        self.fixed = [not t.requires_grad for t, is_read in zip(free, self._is_read, strict=True) if is_read]

    def loss(self, points: Tensor) -> Tensor:
        """The loss with rows of `points` in the place of the modules'; without a gradient for `fixed`."""
        blocks = zip(points.chunk(len(self.fixed)), self.fixed, strict=True)
        rows = iter(z.detach() if is_fixed else z for z, is_fixed in blocks)
        return self._with([next(rows) if is_read else t for t, is_read in zip(self._free, self._is_read, strict=True)])

    def owners(self) -> Tensor | None:
        """The example that each row of the modules' own is made of."""

        def run(batch: Any) -> list[Tensor]:
            found = self._run(lambda output: None, batch)
            return [t for t, is_read in zip(found, self._is_read, strict=True) if is_read]

        were = in_evaluation(self._model)
        try:
            return owners(run, self._batch)
        except Exception:  # a step that takes no other batch
            return None
        finally:
            for module, mode in were:
                module.training = mode

    def _run(self, keep: Callable[[Any], None], batch: Any) -> list[Tensor]:
        """All points of one run, in their order."""
        found: list[Tensor] = []

        def look(module: nn.Module, args: Any, output: Any) -> None:
            keep(output)
            found.extend(t for _, t in tensors(output) if _is_points(t))

        handles = [head.register_forward_hook(look) for head in self._heads]
        try:
            self._ask(batch)
        finally:
            for handle in handles:
                handle.remove()
        return found

    def _with(self, points: list[Tensor]) -> Tensor:
        rest, calls = iter(points), iter(self._returned)

        def swap(value: Any) -> Any:
            if not _is_points(value):
                return value.detach() if isinstance(value, Tensor) else map_parts(value, swap)
            return next(rest)

        plain = [vars(head).get("forward") for head in self._heads]
        for head in self._heads:
            head.forward = lambda *args, **kwargs: swap(next(calls))  # type: ignore[method-assign]
        try:
            return self._ask(self._batch)
        finally:
            for head, own in zip(self._heads, plain, strict=True):
                del head.forward
                if own is not None:  # a wrapper's (Accelerate sets one)
                    head.forward = own

    def _ask(self, batch: Any) -> Tensor:
        with torch.enable_grad(), randomness_restored():
            seed_torch(0)
            return self._forward(self._model, batch).sum()
