"""The logarithm of the volume that a flow returns beside its points, held against its Jacobian, and what a loss wants."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.forward_pass import ForwardPass, callable_model
from trainability.doctor.measure.instead import loss_of, returned_once
from trainability.doctor.measure.randomness import randomness_restored, seed_torch

_ROWS, _MOST_DIMENSIONS = 8, 32
_MOVE = 0.1  # of weights
_SAME, _TELLING = 1e-3, 1e-2  # error, and size, of a logarithm


def volume_against(seen: ForwardPass, loss: Tensor) -> bool:
    """Whether the loss wants the volume of a change of variables small where the likelihood is larger with it.

    Args:
        seen: the pass; of a model that is given points (batch, dimensions) and returns as many, and a number for each.
        loss: with its graph.

    Returns:
        True where that number is the logarithm of the Jacobian's determinant to 1e-3, and the loss rises with it for every
        point; or is minus that logarithm, and the loss falls with it. The density of a point is that of what it is made into
        times the volume, so minus its logarithm falls with the logarithm of the volume.
    """
    given = next((x for x in seen.inputs if isinstance(x, Tensor) and x.is_floating_point() and x.dim() == 2), None)
    if given is None or len(seen.calls) != 1 or not 0 < given.shape[1] <= _MOST_DIMENSIONS or len(given) < _ROWS:
        return False
    returned = [t for t in seen.returned if t.requires_grad]
    made = next((k for k, t in enumerate(seen.returned) if t.requires_grad and t.shape == given.shape), None)
    sums = [k for k, t in enumerate(seen.returned) if t.requires_grad and t.numel() == len(t) == len(given)]
    if made is None or len(sums) != 1 or len(returned) < 2:
        return False
    (wanted,) = torch.autograd.grad(loss, [seen.returned[sums[0]]], allow_unused=True, retain_graph=True)
    if wanted is None or not (bool((wanted > 0).all()) or bool((wanted < 0).all())):
        return False
    told = _told(seen, given, made, sums[0])
    if told is None:
        return False
    said, true = told
    if float(true.abs().max()) < _TELLING:
        return False
    sign = next((s for s in (1.0, -1.0) if float((said - s * true).abs().max()) < _SAME * (1 + float(true.abs().max()))), None)
    return sign is not None and sign * float(wanted.mean()) > 0


def volume_missing(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], seen: ForwardPass) -> bool:
    """Whether a loss is a likelihood by change of variables in every respect but the volume.

    Args:
        model: is given points (batch, dimensions) and returns as many, and numbers for each. Its weights are moved and put
            back: many flows are the identity at their start, whose volume is 1.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.
        seen: the same pass.

    Returns:
        True where the loss is, to 1e-3, minus the mean log-density of a standard normal distribution at the points made, less
        the mean of one or several of these numbers, and their sum is not the logarithm of the Jacobian's determinant, by more
        than a number for each point that no weight changes.
    """
    given = next((x for x in seen.inputs if isinstance(x, Tensor) and x.is_floating_point() and x.dim() == 2), None)
    if given is None or len(seen.calls) != 1 or not 0 < given.shape[1] <= _MOST_DIMENSIONS or len(given) < _ROWS:
        return False
    own = returned_once(model, batch, forward)
    made = next((k for k, t in enumerate(seen.returned) if t.requires_grad and t.shape == given.shape), None)
    if own is None or made is None:
        return False
    answers = [t.clone().requires_grad_(t.is_floating_point()) for t in own.tensors]
    each = [k for k, t in enumerate(answers) if t.requires_grad and k != made and t.numel() == len(t) == len(given)]
    if not each:
        return False
    loss = loss_of(model, batch, forward, own, answers)
    slopes = dict(zip(each, torch.autograd.grad(loss, [answers[k] for k in each], allow_unused=True), strict=True))
    known = {k: slope * len(given) for k, slope in slopes.items() if slope is not None and bool(slope.any())}
    shares = next(
        (d for d in (1, given.shape[1]) if all(bool(((s * d + 1).abs() < _SAME).all()) for s in known.values())), None
    )
    if shares is None or not known or not _is_normal(float(loss.detach()) * shares, answers[made], [answers[k] for k in known]):
        return False
    place = made, tuple(known)
    start = _left_out(seen, given, place)
    with moved(model):
        later = _left_out(seen, given, place)
    # What stays as it is where weights move is left out rightly: the volume of a fixed scale or squashing of the inputs.
    return start is not None and later is not None and float((later[0] - start[0]).abs().max()) > _TELLING * (1 + later[1])


def _is_normal(loss: float, points: Tensor, numbers: list[Tensor]) -> bool:
    """Whether it is minus a standard normal log-density less these numbers, with its constant or without."""
    volume = torch.stack([t.detach().flatten().double() for t in numbers]).sum(dim=0)
    rest = loss - float((0.5 * points.detach().double().square().sum(dim=1) - volume).mean())
    constant = 0.5 * points.shape[1] * math.log(2 * math.pi)
    return min(abs(rest), abs(rest - constant)) <= _SAME * (1 + abs(loss))


@contextlib.contextmanager
def moved(model: nn.Module, by: float = 1.0) -> Iterator[None]:
    """Other weights, while it lasts."""
    kept = [p.data for p in model.parameters()]  # exchanged, not written to: the graph of the loss is still needed
    draws = torch.Generator().manual_seed(0)
    try:
        for p in model.parameters():
            p.data = p.data + by * _MOVE * torch.randn(p.shape, generator=draws).to(p)
        yield
    finally:
        for p, old in zip(model.parameters(), kept, strict=True):
            p.data = old


def _left_out(seen: ForwardPass, given: Tensor, places: tuple[int, tuple[int, ...]]) -> tuple[Tensor, float] | None:
    """The logarithm of the Jacobian's determinant less what is said of it, at each point, and the largest such logarithm."""
    told = [_told(seen, given, places[0], k) for k in places[1]]
    found = [each for each in told if each is not None and bool(each[1].isfinite().all())]
    if len(found) < len(told):
        return None
    true = found[0][1]
    return true - torch.stack([said for said, _ in found]).sum(dim=0), float(true.abs().max())


def _told(seen: ForwardPass, given: Tensor, made: int, place: int) -> tuple[Tensor, Tensor] | None:
    """What the model says of the volume at some points, and the logarithm of the Jacobian's determinant there."""
    points = given.detach()[:_ROWS].clone().requires_grad_()
    inputs = [
        points if x is given else x[:_ROWS] if isinstance(x, Tensor) and x.dim() and len(x) == len(given) else x
        for x in seen.inputs
    ]
    with torch.enable_grad(), randomness_restored():
        seed_torch(0)
        found = [t for _, t in tensors(callable_model(seen)(*inputs))]
    if len(found) <= max(made, place) or found[made].shape != points.shape:
        return None
    rows = [torch.autograd.grad(found[made][:, k].sum(), points, retain_graph=True)[0] for k in range(points.shape[1])]
    jacobian = torch.stack(rows, dim=1).double()
    return found[place].detach().flatten().double(), torch.linalg.slogdet(jacobian)[1]
