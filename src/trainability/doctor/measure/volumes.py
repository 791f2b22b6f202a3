"""The logarithm of the volume that a flow returns beside its points, held against its Jacobian, and what a loss wants."""

from __future__ import annotations

import torch
from torch import Tensor

from trainability.doctor.batches import tensors
from trainability.doctor.measure.forward_pass import ForwardPass, callable_model
from trainability.doctor.measure.randomness import randomness_restored

_ROWS, _MOST_DIMENSIONS = 8, 32
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


def _told(seen: ForwardPass, given: Tensor, made: int, place: int) -> tuple[Tensor, Tensor] | None:
    """What the model says of the volume at some points, and the logarithm of the Jacobian's determinant there."""
    points = given.detach()[:_ROWS].clone().requires_grad_()
    inputs = [
        points if x is given else x[:_ROWS] if isinstance(x, Tensor) and x.dim() and len(x) == len(given) else x
        for x in seen.inputs
    ]
    with torch.enable_grad(), randomness_restored():
        torch.manual_seed(0)
        found = [t for _, t in tensors(callable_model(seen)(*inputs))]
    if len(found) <= max(made, place) or found[made].shape != points.shape:
        return None
    rows = [torch.autograd.grad(found[made][:, k].sum(), points, retain_graph=True)[0] for k in range(points.shape[1])]
    jacobian = torch.stack(rows, dim=1).double()
    return found[place].detach().flatten().double(), torch.linalg.slogdet(jacobian)[1]
