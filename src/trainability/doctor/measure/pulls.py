"""Which examples a loss of pairs pulls together and which it pushes apart, and how far apart they are to begin with."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.directions import nearer_and_further
from trainability.doctor.measure.graph import leaves_of
from trainability.doctor.pair_facts import Pulls

_FEWEST = 12  # pairs of either kind
_MOST_CALLS = 4
_FEW = 0.1  # share of the pairs
_ACTIVE = 0.8  # share of the pairs that must have a gradient: a loss of the hardest pairs alone chooses by distance


def pulls(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> Pulls | None:
    """Look at the gradient along the line between two embeddings of one row of the batch.

    Args:
        model: one of its modules, or it itself, is called several times with inputs of one shape.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.

    Returns:
        None where no module is called so, where something with weights stands between the embeddings and the loss (what is
        near there is for it to say), and where too few pairs are pulled or pushed.
    """
    calls = _calls(model, batch, forward)
    name = next((n for n, inputs in calls.items() if 2 <= len(inputs) <= _MOST_CALLS and _fit(inputs)), None)
    if name is None:
        return None
    inputs = calls[name]
    loss, points = _cut(model.get_submodule(name), lambda: forward(model, batch).sum())
    if len(points) != len(inputs) or len({p.shape for p in points}) != 1 or points[0].dim() != 2 or loss.grad_fn is None:
        return None
    leaves, opaque = leaves_of(loss)
    if opaque or leaves - {id(p) for p in points}:
        return None
    gradients = torch.autograd.grad(loss, points, allow_unused=True)
    rows = _standardised(inputs)
    along, apart, lines = [], [], []
    for a, b in combinations(range(len(points)), 2):
        ga, gb = (g if g is not None else torch.zeros_like(points[0]) for g in (gradients[a], gradients[b]))
        along.append(((gb - ga) * (points[b] - points[a]).detach()).sum(dim=1))
        lines.append(rows[b] - rows[a])
        apart.append(lines[-1].square().mean(dim=1).sqrt())
    return _compared(along, apart, lines, (rows[1].roll(1, dims=0) - rows[0]).square().mean(dim=1).sqrt())


def _compared(along: list[Tensor], apart: list[Tensor], lines: list[Tensor], others: Tensor) -> Pulls | None:
    # Of a triplet the third pair, of the two that are compared with the first, moves only by what the others do.
    used = [(pull, far) for pull, far in zip(along, apart, strict=True)]
    used = used[:2] if len(used) == 3 else used
    pull, far = torch.cat([p for p, _ in used]), torch.cat([f for _, f in used])
    active = pull != 0
    pulled, pushed = far[pull > 0].double(), far[pull < 0].double()
    if len(pulled) < _FEW * len(pull):  # nothing is pulled together: are those nearer that are pushed apart than others are?
        pulled = others.double()
    if float(active.float().mean()) < _ACTIVE or min(len(pulled), len(pushed)) < _FEWEST:
        return None
    spread = math.sqrt(float(pulled.var()) / len(pulled) + float(pushed.var()) / len(pushed))
    gap = float(pulled.mean() - pushed.mean())
    line = torch.cat(lines[: len(used)])
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


def _cut(module: nn.Module, run: Callable[[], Tensor]) -> tuple[Tensor, list[Tensor]]:
    """The loss as a function of what the module returns, and nothing before it."""
    points: list[Tensor] = []

    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        if not isinstance(output, Tensor):
            return output
        points.append(output.detach().requires_grad_())
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
