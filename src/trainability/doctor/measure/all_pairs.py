"""Outputs for all pairs of examples, made inside the model, that a loss compares with one target for each example."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import batch_size, first_examples
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.instead import pull, returned_once
from trainability.doctor.measure.nodes import name_of, shape_at, within

_FEWEST = 4  # examples
_SAME = 1e-5  # of the largest gradient: rounding
_APART = 1e-2
_MOST_NODES = 2_000
_OF_TWO = ("AddBackward", "SubBackward", "MulBackward", "DivBackward")

Forward = Callable[[Any, Any], Tensor]


def all_pairs(
    model: nn.Module, batch: Any, forward: Forward, seen: ForwardPass, answers: Sequence[Any] = ()
) -> tuple[int, bool, bool] | None:
    """Put the same number everywhere, and see whether the loss wants the same of a whole row of the outputs.

    A loss of pairs tells the pair of an example with itself, or of two with one label, from others, or sets the pairs of a row
    against each other. One that goes by each output alone, and wants the same of a whole row, has an example's target there.

    Args:
        model: runs as it is, once in each pass.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.
        seen: the same pass.
        answers: nodes that made the outputs, of a watched loop, which cannot be asked about fewer examples: there they have to
            show (n,) and (n, 1) becoming (n, n). None given asks of one example less.

    Returns:
        The number of examples n, of outputs (n, n, ...); whether the targets are those of the rows, as (n, 1) are, and
        not of the columns; and whether (n,) and (n, 1) were seen to become (n, n). None where the loss compares no such
        outputs so.
    """
    output = seen.output
    if output is None or len(seen.returned) != 1 or output.dim() < 2 or not output.is_floating_point():
        return None
    count = len(output)
    if count < _FEWEST or output.shape[1] != count:
        return None
    crossed = is_row_and_column(answers or [output.grad_fn], count)
    if answers and not crossed:
        return None
    own = returned_once(model, batch, forward)
    if own is None or len(own.tensors) != 1:
        return None
    if not answers:
        if batch_size(batch) != count:
            return None
        fewer = returned_once(model, first_examples(batch, count - 1), forward)
        if fewer is None or len(fewer.tensors) != 1 or fewer.tensors[0].shape[:2] != (count - 1, count - 1):
            return None
    levels = [float(t.detach().mean()) for t in (output, *(t for _, t in seen.batch if t.is_floating_point() and t.numel()))]
    for level in levels:
        alike = torch.full_like(own.tensors[0], level)
        wanted = pull(model, batch, forward, own, answers=[alike])
        if wanted is None or (of_rows := _same_along(wanted)) is None:
            continue
        alike[0, 1] += 1.0
        other = pull(model, batch, forward, own, answers=[alike])
        if other is None:
            return None
        apart = (other - wanted).abs()
        apart[0, 1] = 0.0
        return (count, of_rows, crossed) if float(apart.max()) <= _SAME * float(wanted.abs().max()) else None
    return None


def _same_along(wanted: Tensor) -> bool | None:
    """Whether what is wanted is the same along rows (True) or columns (False), and differs between them; None elsewhere."""
    size = float(wanted.abs().max())
    spread = [float((wanted - wanted.narrow(dim, 0, 1)).abs().max()) for dim in (1, 0)]
    if not size or max(spread) < _APART * size or min(spread) > _SAME * size:
        return None
    return spread[0] < spread[1]


def is_row_and_column(answers: Sequence[Any], count: int) -> bool:
    """Whether an operation behind the outputs takes (n, ...) and (n, 1, ...), as they are, and makes (n, n, ...) of them.

    Args:
        answers: nodes that made the outputs; they may have been freed.
        count: n, the number of examples.
    """
    for node in within([node for node in answers if node is not None], None, _MOST_NODES):
        if not name_of(node).startswith(_OF_TWO) or shape_at(node)[:2] != (count, count):
            continue
        shapes = [shape_at(above, place) for above, place in node.next_functions if above is not None]
        if any(len(shape) > 1 and shape[:2] == (count, 1) for shape in shapes) and any(
            shape[:1] == (count,) and len(shape) == len(shape_at(node)) - 1 for shape in shapes
        ):
            return True
    return False
