"""Whether an output uses the end of its sequences: the second half is exchanged, and the answer must change."""

from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import first_tensor
from trainability.doctor.measure.workspace import set_training

MIN_STEPS = 4
_ROWS = 8


def ignores_end(model: nn.Module, inputs: tuple[Any, ...]) -> bool:
    """Whether one answer per sequence stays the same when the second half is exchanged, though not when the first half is.

    Args:
        model: with a recurrent layer; runs in eval mode and without gradients; the caller puts modes and buffers back.
        inputs: what it takes: one tensor (batch, time, ...), as `batch_first=True` has it.

    Returns:
        False, too, where it cannot be asked: other inputs, an answer per step, answers that do not repeat. Padding that all
        examples have at their ends is left out.
    """
    given = inputs[0] if len(inputs) == 1 else None
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    if not recurrent or not isinstance(given, Tensor) or given.dim() < 2 or len(given) < 2 or given.shape[1] < MIN_STEPS:
        return False
    rows = given[:_ROWS]
    others = rows.roll(1, dims=0)
    # Behind the last place at which examples differ is padding: exchanged with its like, it is the same.
    differ = (rows != others).reshape(len(rows), rows.shape[1], -1).any(dim=2).any(dim=0).nonzero()
    half = (int(differ[-1]) + 1) // 2 if len(differ) else 0
    if 2 * half < MIN_STEPS or bool((rows[:, half:] == others[:, half:]).all()):
        return False
    asked = [
        rows,
        rows,
        torch.cat([rows[:, :half], others[:, half:]], dim=1),
        torch.cat([others[:, :half], rows[:, half:]], dim=1),
    ]
    set_training(model, False)
    with torch.no_grad():
        answers = [first_tensor(model(x)) for x in asked]
    if any(answer is None or answer.dim() != 2 or len(answer) != len(rows) for answer in answers):
        return False
    first, again, end, start = (answer for answer in answers if answer is not None)
    return torch.equal(first, again) and torch.equal(first, end) and not torch.equal(first, start)
