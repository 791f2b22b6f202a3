"""What an output depends on, found by exchanging parts of the input: other examples of the batch, later tokens.

Each audit controls for itself: the same question is asked twice first, with the same random numbers. A model that answers
it differently (numbers that cannot be repeated) is not judged.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import first_tensor
from trainability.doctor.measure import statistics
from trainability.doctor.measure.workspace import set_training

Forward = Callable[..., Any]


def leakage(model: nn.Module, inputs: tuple[Any, ...]) -> float | None:
    """Change of one example's output when another example of the batch is exchanged, in either direction, in eval mode.

    Args:
        model: runs in eval mode and without gradients; the caller puts modes and buffers back.
        inputs: what it takes; the first is a tensor of four or more examples. Other tensors with as many rows are cut alike.

    Returns:
        The largest change over the rms of the output; None where it cannot be asked: fewer examples, batch norm without
        running statistics, outputs that are no row per example or compare all pairs, answers that do not repeat.
    """
    first = inputs[0] if inputs else None
    untracked = any(isinstance(m, nn.modules.batchnorm._BatchNorm) and not m.track_running_stats for m in model.modules())
    if not isinstance(first, Tensor) or first.dim() == 0 or len(first) < 4 or untracked:
        return None
    size = len(first)

    def ask(rows: list[int]) -> Tensor | None:
        chosen = [x[rows] if isinstance(x, Tensor) and x.dim() > 0 and len(x) == size else x for x in inputs]
        return _answer(model, chosen, len(rows))

    # Three rows, not one: kernels may round differently for another batch size.
    whole, again = ask([0, 1, 2]), ask([0, 1, 2])
    last, earliest = ask([0, 1, 3]), ask([3, 1, 2])
    if whole is None or again is None or last is None or earliest is None or len(whole) in whole.shape[1:]:
        return None
    if not torch.equal(whole, again):
        return None
    size_of_output = float(statistics.rms(whole))
    changes = [(whole[:2] - last[:2]).abs().max(), (whole[1:] - earliest[1:]).abs().max()]
    return max(map(float, changes)) / max(size_of_output, 1e-30)


def sees_later(model: nn.Module, inputs: tuple[Any, ...], position: int) -> float | None:
    """Change of the output for earlier tokens when the last ones are exchanged, in eval mode.

    Args:
        model: runs in eval mode and without gradients; the caller puts modes and buffers back.
        inputs: what it takes.
        position: of the input whose tokens are exchanged, (batch, tokens, ...), between those of other examples.

    Returns:
        The largest change over the rms of the output; None where it cannot be asked: fewer than two examples or four tokens,
        an output that has no entry per token, answers that do not repeat.
    """
    tokens = inputs[position]
    if not isinstance(tokens, Tensor) or tokens.dim() < 2 or len(tokens) < 2 or tokens.shape[1] < 4:
        return None
    rows = min(len(tokens), 8)
    cut = [x[:rows] if isinstance(x, Tensor) and x.dim() > 0 and len(x) == len(tokens) else x for x in inputs]
    kept = tokens.shape[1] // 2
    changed = cut[position].clone()
    changed[:, kept:] = cut[position].roll(1, dims=0)[:, kept:]
    if torch.equal(changed, cut[position]):
        return None
    whole, again = _answer(model, cut, rows), _answer(model, cut, rows)
    cut[position] = changed
    other = _answer(model, cut, rows)
    if whole is None or again is None or other is None or not torch.equal(whole, again):
        return None
    if whole.dim() < 3 or whole.shape[1] != tokens.shape[1]:
        return None
    difference = (whole[:, :kept] - other[:, :kept]).abs().max()
    return float(difference / statistics.rms(whole).clamp(min=1e-30))


def _answer(model: nn.Module, inputs: list[Any], rows: int) -> Tensor | None:
    """The output with the random numbers that every question gets; None where it is no tensor with a row per example."""
    set_training(model, False)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=_devices(model)):
            torch.manual_seed(0)
            output = first_tensor(model(*inputs))
    except Exception:
        return None
    if output is None or output.dim() == 0 or len(output) != rows or not output.is_floating_point():
        return None
    return output.detach().float().clone()


def _devices(model: nn.Module) -> list[int]:
    return sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
