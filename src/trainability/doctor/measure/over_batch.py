"""Whether a softmax in a model's forward pass runs over the examples of the batch, read off the graph of its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from trainability.doctor.measure.graph import name_of

_MOST_NODES = 20_000
_EXAMPLES_FIRST = (2, 4)  # dimensions of inputs whose first is that of the examples: of three, the first may be steps


def softmax_over_batch(answers: Sequence[Any], inputs: Sequence[Tensor], size: int | None) -> tuple[int, int] | None:
    """Look for a softmax over the first of two dimensions, which is that of the examples.

    Args:
        answers: nodes that made what the model returned; that they have been freed does not matter.
        inputs: what the model was given.
        size: examples of the batch.

    Returns:
        The shape that it runs over the first dimension of: (examples, 2 and more). None where there is none; where an input is
        a sequence, a set of words or an adjacency, or the outputs have not a row per example, as for a set that is the whole
        batch; and where another softmax goes over the second dimension of the same shape, so that both are meant.
    """
    if size is None or size < 2 or not answers or not inputs:
        return None
    if any(
        not x.is_floating_point() or x.dim() not in _EXAMPLES_FIRST or len(x) != size or size in x.shape[1:] for x in inputs
    ):
        return None
    if any(shape[:1] != (size,) or size in shape[1:] for shape in map(_shape, answers)):
        return None
    seen, todo = {id(node): node for node in answers}, list(answers)
    over: dict[tuple[int, ...], set[int]] = {}
    while todo and len(seen) < _MOST_NODES:
        node = todo.pop()
        shape, dim = _shape(node), getattr(node, "_saved_dim", None)
        if "oftmax" in name_of(node) and dim is not None and len(shape) == 2:
            over.setdefault(shape, set()).add((dim - 2**64 if dim >= 2**63 else dim) % 2)  # nodes keep it unsigned
        new = {id(above): above for above, _ in node.next_functions if above is not None and id(above) not in seen}
        seen |= new
        todo.extend(new.values())
    return next(((size, k) for (n, k), dims in over.items() if n == size and k not in (1, size) and dims == {0}), None)


def _shape(node: Any) -> tuple[int, ...]:
    metadata = getattr(node, "_input_metadata", None)
    return tuple(metadata[0].shape) if metadata else ()
