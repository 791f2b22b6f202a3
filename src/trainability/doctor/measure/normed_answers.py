"""Answers that a layer normalisation has made: of each example, mean and size are fixed before a scale and shift for all."""

from __future__ import annotations

from torch import Tensor

from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.graph import behind_views
from trainability.doctor.measure.nodes import name_of

_FEWEST = 16  # examples


def normed_answers(seen: ForwardPass) -> tuple[int, float] | None:
    """Compare what a layer normalisation can answer with what is asked for.

    Args:
        seen: a pass whose loss is of the difference of output and target.

    Returns:
        How many numbers an answer holds, all of which are normalised together, and how much the mean square of a target differs
        from example to example, each of its numbers standardised over the examples: the standard deviation over the mean. A
        layer normalisation makes it 0 but for its scale and shift. None of other answers and losses.
    """
    if seen.against is None or seen.output is None:
        return None
    output, target = seen.against
    if output.dim() != 2 or output.shape[1] < 2 or len(output) < _FEWEST or output.grad_fn is None:
        return None
    node = behind_views(output.grad_fn)
    if not name_of(node).startswith("NativeLayerNorm") or tuple(node._saved_normalized_shape) != (output.shape[1],):
        return None
    return output.shape[1], _unevenness(target)


def _unevenness(target: Tensor) -> float:
    columns = target.detach().double()
    sizes = ((columns - columns.mean(dim=0)) / columns.std(dim=0).clamp(min=1e-12)).square().mean(dim=1)
    return float(sizes.std() / sizes.mean().clamp(min=1e-12))
