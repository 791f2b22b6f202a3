"""Networks without biases, whose answer to twice an input is twice the answer, and targets that are no such function."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.batches import first_tensor
from trainability.doctor.measure.forward_pass import ForwardPass, callable_model
from trainability.doctor.measure.randomness import generators_restored, randomness_restored
from trainability.doctor.measure.relation import pair_of
from trainability.doctor.measure.workspace import set_training

_EXACT = 1e-4  # of the largest answer
_MOST_COLUMNS, _MOST_EXAMPLES, _FEWEST_PAIRS = 8, 1000, 50
_ALONG, _LONGER, _BESIDE = 0.995, 1.5, 3.0  # cosine between two inputs; their sizes; times what nearest examples differ by


def through_zero(seen: ForwardPass, batches: Iterable[Any]) -> tuple[int, float] | None:
    """Compare targets of examples that lie in the same direction from zero, and at other distances.

    Args:
        seen: a pass whose loss is of the difference of output and target.
        batches: of the training loader.

    Returns:
        Pairs of examples that were compared, and the share of their targets' square that no function does away with which grows
        in proportion along a direction; None of models with biases, or whose answers do not grow so, of inputs that are no
        table of a few columns, and where examples that are alike differ nearly as much.
    """
    if seen.against is None or len(seen.inputs) != 1 or any(p.dim() < 2 for p in seen.model.parameters()):
        return None
    x = first_tensor(seen.inputs[0])
    if x is None or x.dim() != 2 or not x.is_floating_point() or not 2 <= x.shape[1] <= _MOST_COLUMNS:
        return None
    if not _doubles(seen, x):
        return None
    rows = _rows(batches)
    return _unexplained(*rows) if rows is not None else None


def _doubles(seen: ForwardPass, x: Tensor) -> bool:
    """Whether twice an input has twice the answer, which is not zero everywhere."""
    model = callable_model(seen)
    set_training(seen.model, False)
    with torch.no_grad(), randomness_restored():
        once, twice = first_tensor(model(x)), first_tensor(model(2 * x))
    if once is None or twice is None or once.shape != twice.shape:
        return False
    size = float(once.abs().max())
    return size > 0 and float((twice - 2 * once).abs().max()) <= _EXACT * size


def _rows(batches: Iterable[Any]) -> tuple[Tensor, Tensor] | None:
    """The first examples of a loader: inputs, and targets with a column each."""
    kept: list[tuple[Tensor, Tensor]] = []
    with randomness_restored(), generators_restored(batches):
        for batch in batches:
            pair = pair_of(batch)
            if pair is None or pair[0].dim() != 2 or not pair[1].is_floating_point():
                return None
            kept.append((pair[0].double().cpu(), pair[1].double().cpu().reshape(len(pair[1]), -1)))
            if sum(len(y) for _, y in kept) >= _MOST_EXAMPLES:
                break
    if not kept:
        return None
    inputs, targets = (torch.cat(part)[:_MOST_EXAMPLES] for part in zip(*kept, strict=True))
    return inputs, targets


def _unexplained(inputs: Tensor, targets: Tensor) -> tuple[int, float] | None:
    sizes = inputs.norm(dim=1)
    kept = sizes > 1e-6 * sizes.max()
    inputs, targets, sizes = inputs[kept], targets[kept], sizes[kept]
    along = (inputs / sizes[:, None]) @ (inputs / sizes[:, None]).T
    longer = sizes[None] / sizes[:, None]
    fits = torch.where((along >= _ALONG) & (longer >= _LONGER), along, -torch.inf)
    value, other = fits.max(dim=1)
    one = (value > 0).nonzero().flatten()
    if len(one) < _FEWEST_PAIRS:
        return None
    a, b, ratio = targets[one], targets[other[one]], longer[one, other[one]][:, None]
    total = float((a.square() + b.square()).sum())
    left = float(((b - ratio * a).square() / (1 + ratio.square())).sum()) / max(total, 1e-30)
    near = torch.cdist(inputs, inputs).fill_diagonal_(torch.inf).argmin(dim=1)
    noise = float((targets - targets[near]).square().sum()) / 2 / max(float(targets.square().sum()), 1e-30)
    return (len(one), left) if left > _BESIDE * noise else None
