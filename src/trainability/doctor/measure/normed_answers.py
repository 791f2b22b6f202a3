"""Answers that a layer normalisation has made: of each example, mean and size are fixed before a scale and shift for all."""

from __future__ import annotations

from torch import Tensor, nn

from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.graph import behind_views
from trainability.doctor.measure.nodes import name_of

_FEWEST = 16  # examples


def normed_answers(seen: ForwardPass) -> tuple[int, float] | None:
    """Compare what a layer normalisation can answer with what is asked for.

    Args:
        seen: a pass whose loss is of the difference of output and target.

    Returns:
        How many numbers an answer holds, all of which are normalised together, and the share of the targets' variance that is
        left when each target is normalised in the same way, scaled and shifted as fits best. None of other answers and losses.
    """
    if seen.against is None or seen.output is None:
        return None
    output, target = seen.against
    if output.dim() != 2 or output.shape[1] < 2 or len(output) < _FEWEST or output.grad_fn is None:
        return None
    node = behind_views(output.grad_fn)
    if not name_of(node).startswith("NativeLayerNorm") or tuple(node._saved_normalized_shape) != (output.shape[1],):
        return None
    return output.shape[1], _left(target)


def _left(target: Tensor) -> float:
    rows = target.detach().double()
    normed = nn.functional.layer_norm(rows, rows.shape[1:])
    a, b = normed - normed.mean(dim=0), rows - rows.mean(dim=0)
    scale = (a * b).sum(dim=0) / a.square().sum(dim=0).clamp(min=1e-12)
    return float((b - scale * a).square().sum() / b.square().sum().clamp(min=1e-12))
