"""One target that is broadcast over all outputs of an example, beside whole numbers that would choose one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.instead import exchanged
from trainability.doctor.measure.loss_number import seeded_loss


def one_target(
    model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor], wide: tuple[int, int] | None
) -> tuple[int, str] | None:
    """Look for whole numbers of the batch, one an example, that could name an output and that nothing reads.

    Args:
        model: is handed to `forward`. The caller puts modes, buffers and random state back.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.
        wide: examples and outputs of what a loss of PyTorch set against one column; None where none did.

    Returns:
        The outputs of an example, and the place of the numbers, "" where the batch has none; None where nothing was broadcast,
        and where such numbers are read, as by a mask.
    """
    if wide is None:
        return None
    examples, outputs = wide
    named = [(place, t) for place, t in tensors(batch) if may_choose(t, examples, outputs)]
    if not named:
        return outputs, ""
    own = seeded_loss(model, batch, forward)
    if seeded_loss(model, batch, forward) != own:
        return None
    for place, choice in named:
        if seeded_loss(model, exchanged(batch, choice, outputs - 1 - choice), forward) == own:
            return outputs, place
    return None


def column_beside(output: Any, target: Any) -> tuple[int, int] | None:
    """Examples and outputs, where outputs (n, k) are set against one column (n, 1) without a gradient."""
    if not isinstance(output, Tensor) or not isinstance(target, Tensor) or not output.requires_grad or target.requires_grad:
        return None
    is_wide = output.dim() == target.dim() == 2 and output.shape[1] > 1
    return (len(output), output.shape[1]) if is_wide and target.shape == (len(output), 1) else None


def may_choose(tensor: Tensor, examples: int, outputs: int) -> bool:
    """Whether a tensor holds whole numbers, one an example, that could name one of the outputs."""
    if tensor.is_floating_point() or tensor.dtype == torch.bool or tensor.is_complex() or tensor.numel() != examples:
        return False
    low, high = (int(x) for x in tensor.aminmax())
    return tensor.dim() > 0 and len(tensor) == examples and 0 <= low < high < outputs
