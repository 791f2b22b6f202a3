"""Whether layers without batch_first, recurrent or attention, take the examples of a batch for steps, told by shapes alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from trainability.doctor.measure.graph import nodes_of_loss
from trainability.doctor.measure.nodes import name_of

_LOSSES = ("LogSoftmaxBackward", "BinaryCrossEntropyWithLogitsBackward", "BinaryCrossEntropyBackward", "MseLossBackward")
_LOSSES += ("L1LossBackward", "SmoothL1LossBackward", "HuberLossBackward")


def steps_first_facts(loss: Tensor, lengths: Mapping[str, tuple[int, int]], batch_size: int | None) -> dict[str, Any]:
    """Hold what such layers took for (steps, batch) against the answers that the loss has.

    Args:
        loss: one number, with its graph, before or after `backward`.
        lengths: by layer, the first two dimensions of what it was given.
        batch_size: first dimension of what the model was given.

    Returns:
        Fields of `Facts`: `along_batch`, the first layer for which the loss has one answer for each of its steps, and those
        come to another number than its examples; `maybe_steps_first`, where an answer for each step of each example, or as
        many steps as examples, leave it open. Nothing where the model turns its input by itself.
    """
    given = {name: sizes for name, sizes in lengths.items() if sizes[0] == batch_size and sizes[1] > 1}
    answers = _answers(loss)
    if not given or answers is None:
        return {}
    count, *others = answers
    for name, (steps, examples) in given.items():
        if count == steps != examples and len(others) < 2 and others != [examples]:
            return {"along_batch": name}
    is_open = any(count in (steps * examples, steps) for steps, examples in given.values())
    return {"maybe_steps_first": True} if is_open else {}


def _answers(loss: Tensor) -> list[int] | None:
    """Shape of what the first known function of the loss is given."""
    for node in nodes_of_loss(loss.grad_fn) if loss.grad_fn is not None else ():
        above, place = next((edge for edge in node.next_functions if edge[0] is not None), (None, 0))
        metadata = getattr(above, "_input_metadata", None)
        if name_of(node) in _LOSSES and metadata and place < len(metadata) and len(metadata[place].shape) > 0:
            return list(metadata[place].shape)
    return None
