"""Which examples a loss of pairs pulls together and which it pushes apart, and how far apart they are to begin with."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Container, Iterable
from dataclasses import replace
from itertools import chain, combinations
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.directions import nearer_and_further
from trainability.doctor.measure.graph import leaves_of
from trainability.doctor.measure.own_pairs import own_pairs
from trainability.doctor.measure.randomness import randomness_restored, seed_all
from trainability.doctor.pair_facts import Pulls

_FEWEST = 12  # pairs of either kind
_MOST_PAIRS, _MOST_NUMBERS = 1024, 2**24  # whose distances to each other's sides are measured; numbers of one side of all
_MOST_CALLS, _MOST_CUTS = 4, 3
_FEW = 0.1  # share of the pairs
_SAME, _CHANGED = 1e-3, 1e-2  # of a gradient
_ACTIVE = 0.8  # share of the pairs that must have a gradient: a loss of the hardest pairs alone chooses by distance


Forward = Callable[[Any, Any], Tensor]
# Along each line, its length, the line; other lengths; the two sides of each pair.
_Seen = tuple[list[Tensor], list[Tensor], list[Tensor], Tensor, list[tuple[Tensor, Tensor]]]


def pulls(model: nn.Module, batch: Any, forward: Forward, more: Iterable[Any] = ()) -> Pulls | None:
    """Look at the gradient along the line between two embeddings of one row of the batch.

    Args:
        model: one of its modules, or it itself, is called several times with inputs of one shape.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.
        more: other batches, which count together, in place of `batch`, if the loss can be computed of each.

    Returns:
        None where no module is called so, where something with weights stands between the embeddings and the loss (what is
        near there is for it to say), where the loss holds no two embeddings against each other, and where too few pairs are
        pulled or pushed.
    """
    each: list[_Seen] = []
    with contextlib.suppress(Exception):  # a last batch of another size
        each = [seen for part in more if (seen := _seen(model, part, forward)) is not None]
    if not each and (alone := _seen(model, batch, forward)) is not None:
        each = [alone]
    if not each:
        return None
    along, apart, lines, others, sides = zip(*each, strict=True)
    found = _compared(list(chain(*along)), list(chain(*apart)), list(chain(*lines)), torch.cat(others))
    if found is None:
        return None
    one, other = (torch.cat(side) for side in zip(*chain(*sides), strict=True))
    pull = torch.cat(list(chain(*along)))
    most = min(_MOST_PAIRS, _MOST_NUMBERS // one[0].numel())
    return replace(found, own=own_pairs(one[:most], other[:most], pull[:most]))


def _seen(model: nn.Module, batch: Any, forward: Forward) -> _Seen | None:
    calls = _calls(model, batch, forward)
    name = next((n for n, inputs in calls.items() if 2 <= len(inputs) <= _MOST_CALLS and _fit(inputs)), None)
    if name is None:
        return None
    inputs = calls[name]
    found = _embedded(model, batch, forward, name, len(inputs))
    if found is None:
        return None
    module, loss, points = found
    gradients = _gradients(loss, points)
    held = _held_together(module, lambda: forward(model, batch).sum(), len(points))
    # Of a triplet the third pair, of the two that are compared with the first, moves only by what the others do.
    held = {(a, b) for a, b in held if len(points) != 3 or a == 0}
    if not held:
        return None
    rows = _standardised(inputs)
    along, apart, lines = [], [], []
    for a, b in sorted(held):
        ga, gb = gradients[a], gradients[b]
        along.append(((gb - ga) * (points[b] - points[a]).detach()).sum(dim=1))
        lines.append(rows[b] - rows[a])
        apart.append(lines[-1].square().mean(dim=1).sqrt())
    sides = [(inputs[a], inputs[b]) for a, b in sorted(held)]
    return along, apart, lines, (rows[1].roll(1, dims=0) - rows[0]).square().mean(dim=1).sqrt(), sides


def _embedded(
    model: nn.Module, batch: Any, forward: Forward, name: str, num_calls: int
) -> tuple[nn.Module, Tensor, list[Tensor]] | None:
    """A module whose outputs are embeddings, behind which no weights stand: that one, or the last that is called as often."""
    for each in (name, *_called(model, batch, forward, num_calls)):
        module = model.get_submodule(each)
        loss, points = _cut(module, lambda: forward(model, batch).sum())
        if len(points) != num_calls or len({p.shape for p in points}) != 1 or points[0].dim() != 2 or loss.grad_fn is None:
            continue
        leaves, opaque = leaves_of(loss)
        if not opaque and not leaves - {id(p) for p in points}:
            return module, loss, points
    return None


def _called(model: nn.Module, batch: Any, forward: Forward, num_calls: int) -> list[str]:
    """Names of modules with so many calls that returned a row for each example, the last to be called first; a few."""
    order: list[str] = []

    def hook(name: str) -> Callable[..., None]:
        return lambda module, args, output: order.append(name) if isinstance(output, Tensor) and output.dim() == 2 else None

    handles = [module.register_forward_hook(hook(name)) for name, module in model.named_modules()]
    try:
        with torch.enable_grad(), randomness_restored():
            forward(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return [name for name in dict.fromkeys(reversed(order)) if order.count(name) == num_calls][:_MOST_CUTS]


def _held_together(module: nn.Module, run: Callable[[], Tensor], num_calls: int) -> set[tuple[int, int]]:
    """Calls whose embeddings the loss holds against each other, by places: (0, 1).

    Distances and products of two embeddings stay as they are where the columns of both are brought into another order, and
    change where those of one are. A loss of each embedding's own size (forward-forward) does not change, and one of what each
    column stands for (classes, a score) changes in both.

    Returns:
        Nothing where the loss is not that of embeddings, and where it does not repeat.
    """
    orders: tuple[set[int], ...] = (set(), set(), set(range(num_calls)), *({k} for k in range(num_calls)))
    found = []
    for moved in orders:
        with randomness_restored():
            seed_all(0)
            found.append(_gradients(*_cut(module, run, moved)))
    first, again, together, *alone = found
    sizes = [float(g.norm()) for g in first]

    def differ(one: Tensor, other: Tensor, size: float, limit: float) -> bool:
        return float((one - other).norm()) > limit * size

    repeats = all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    if not repeats or any(differ(_turned(g), t, n, _SAME) for g, t, n in zip(first, together, sizes, strict=True)):
        return set()
    pairs = combinations(range(num_calls), 2)
    return {
        (a, b)
        for a, b in pairs
        if differ(first[a], alone[b][a], sizes[a], _CHANGED) or differ(first[b], alone[a][b], sizes[b], _CHANGED)
    }


def _turned(rows: Tensor) -> Tensor:
    """The same rows, with each column in another's place."""
    return rows.roll(1, dims=1)


def _gradients(loss: Tensor, points: list[Tensor]) -> list[Tensor]:
    found = torch.autograd.grad(loss, points, allow_unused=True)
    return [g if g is not None else torch.zeros_like(p) for g, p in zip(found, points, strict=True)]


def _compared(along: list[Tensor], apart: list[Tensor], lines: list[Tensor], others: Tensor) -> Pulls | None:
    pull, far = torch.cat(along), torch.cat(apart)
    active = pull != 0
    pulled, pushed = far[pull > 0].double(), far[pull < 0].double()
    if len(pulled) < _FEW * len(pull):  # nothing is pulled together: are those nearer that are pushed apart than others are?
        pulled = others.double()
    if float(active.float().mean()) < _ACTIVE or min(len(pulled), len(pushed)) < _FEWEST:
        return None
    spread = math.sqrt(float(pulled.var()) / len(pulled) + float(pushed.var()) / len(pushed))
    gap = float(pulled.mean() - pushed.mean())
    line = torch.cat(lines)
    nearer, further = nearer_and_further(line[pull > 0], line[pull < 0])
    return Pulls(
        num_pulled=int((pull > 0).sum()),
        num_pushed=len(pushed),
        apart_pulled=float(pulled.mean()),
        apart_pushed=float(pushed.mean()),
        z=gap / max(spread, 1e-12),
        nearer_z=nearer,
        further_z=further,
    )


def _calls(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> dict[str, list[Tensor]]:
    """First inputs of every module, call by call, of those that nothing trainable made; outer modules first."""
    found: dict[str, list[Tensor]] = {name: [] for name, _ in model.named_modules()}

    def hook(name: str) -> Callable[..., None]:
        def look(module: nn.Module, args: Any) -> None:
            if args and isinstance(args[0], Tensor) and not args[0].requires_grad:
                found[name].append(args[0].detach())

        return look

    handles = [module.register_forward_pre_hook(hook(name)) for name, module in model.named_modules()]
    try:
        with torch.enable_grad():  # a loss may differentiate by itself
            forward(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _fit(inputs: list[Tensor]) -> bool:
    return len({x.shape for x in inputs}) == 1 and inputs[0].dim() >= 2 and len(inputs[0]) >= 2 * _FEWEST


def _cut(module: nn.Module, run: Callable[[], Tensor], moved: Container[int] = ()) -> tuple[Tensor, list[Tensor]]:
    """The loss as a function of what the module returns, and nothing before it.

    Args:
        module: of which it is a function.
        run: computes it.
        moved: calls, from 0, whose columns are brought into another order.
    """
    points: list[Tensor] = []

    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        if not isinstance(output, Tensor):
            return output
        given = output.detach()
        given = _turned(given) if len(points) in moved else given
        points.append(given.requires_grad_())
        return points[-1]

    handle = module.register_forward_hook(hook)
    try:
        with torch.enable_grad():
            return run(), points
    finally:
        handle.remove()


def _standardised(inputs: list[Tensor]) -> list[Tensor]:
    flat = torch.cat([x.flatten(1).float() for x in inputs])
    flat = (flat - flat.mean(dim=0)) / flat.std(dim=0).clamp(min=1e-6)
    return list(flat.split(len(inputs[0])))
