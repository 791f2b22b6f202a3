"""Likelihoods by change of variables, asked example by example: which sign the logarithm of the volume has in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainability.doctor.batches import batch_size, map_parts, tensors
from trainability.doctor.measure.randomness import randomness_restored, seed_torch
from trainability.doctor.measure.volumes import moved

_ROWS, _FEWEST, _MOST_DIMENSIONS = 6, 8, 32
_MOST_CANDIDATES = 2  # tensors of the batch
_SAME, _TELLING = 1e-3, 1e-2  # error, and spread, of a logarithm

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


def volume_turned(model: nn.Module, batch: Any, forward: Forward) -> bool:
    """Whether a loss is minus a normal log-density by change of variables, but for the sign of the volume.

    Args:
        model: runs as it is; its weights are moved and put back, as many flows are the identity at their start.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.

    Returns:
        True where, for each example alone, the loss is a multiple of half the squared length of some point of as many numbers
        as a tensor of the batch has for the example, *plus* the logarithm of the determinant of the point's Jacobian by that
        tensor, times the same, and a constant; to 1e-3.
    """
    size = batch_size(batch)
    if size is None or size < _FEWEST:
        return False
    each = [t for _, t in tensors(batch) if t.is_floating_point() and t.dim() > 1 and len(t) == size]
    for points in [t for t in each if 1 < t[0].numel() <= _MOST_DIMENSIONS][:_MOST_CANDIDATES]:
        with moved(model):
            looks = [_look(model, batch, forward, points, row) for row in range(_ROWS)]
        seen = [look for look in looks if look is not None]
        if len(seen) < _ROWS:
            continue
        scale, rest, true = (torch.tensor(column, dtype=torch.float64) for column in zip(*seen, strict=True))
        if float((scale / scale[0] - 1).abs().max()) > _SAME or not bool(true.isfinite().all()):
            continue
        if float(true.max() - true.min()) < _TELLING:
            with moved(model, by=2.0):  # the volume of each step is the same for all examples
                more = _look(model, batch, forward, points, 0)
            if more is None or abs(more[2] - float(true[0])) < _TELLING:
                continue
            rest, true = (torch.cat([a, a.new_tensor([b])]) for a, b in ((rest, more[1]), (true, more[2])))
        off = rest / scale[0] - true
        if float(off.max() - off.min()) < _SAME * (1 + float(true.abs().max())):
            return True
    return False


def _look(model: nn.Module, batch: Any, forward: Forward, points: Tensor, row: int) -> tuple[float, float, float] | None:
    """For one example: how often half the squared length is in the loss, the rest of it, and the volume's logarithm."""
    size, own = len(points), points[row : row + 1].detach().clone().requires_grad_()

    def cut(part: Any) -> Any:
        if not isinstance(part, Tensor):
            return map_parts(part, cut)
        return own if part is points else part[row : row + 1] if part.dim() and len(part) == size else part

    with _Squared(own.numel()) as squared, torch.enable_grad(), randomness_restored():
        seed_torch(0)
        loss = forward(model, cut(batch)).sum()
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
        return scale, float(loss.detach()) - scale * length / 2, float(torch.linalg.slogdet(jacobian)[1])
    return None
