"""Goals that a model makes for itself, of what comes after: whether they go by where an episode ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.instead import exchanged
from trainability.doctor.measure.randomness import randomness_restored

_FEWEST = 16  # examples
_MOST_ENDS = 0.5  # share of them

Forward = Callable[[Any, Any], Tensor]


def unread_ends(model: nn.Module, batch: Any, forward: Forward) -> tuple[str, float] | None:
    """Look for marks of the batch, 0 or 1, that nothing reads beside goals that a call without gradients makes.

    Args:
        model: is handed to `forward`; a part of it, or it itself, is given one tensor of the batch with gradients, and another
            of the same shape without them. The caller puts modes, buffers and random state back.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.

    Returns:
        The marks' place in the batch, and how much further the second tensor is from the first where they are 1: the mean
        distance over that where they are 0. None where the batch has no such marks, where other marks than integers (actions)
        change the loss, and where nothing can be asked.
    """
    state, after = _given(model, batch, forward)
    if state is None or after is None or len(state) < _FEWEST:
        return None
    marks = [(name, t) for name, t in tensors(batch) if _are_marks(t, len(state))]
    if not marks or _ask(model, batch, forward) != (own := _ask(model, batch, forward)):
        return None
    turned = [1 - t if t.dtype != torch.bool else ~t for _, t in marks]
    is_read = [_ask(model, exchanged(batch, t, other), forward) != own for (_, t), other in zip(marks, turned, strict=True)]
    # An integer that is read may be one of two actions; another mark may be the end itself, or a reward.
    unread = [mark for mark, used in zip(marks, is_read, strict=True) if not used]
    if not unread or any(used and t.dtype != torch.int64 for (_, t), used in zip(marks, is_read, strict=True)):
        return None
    name, ends = unread[-1]
    at = ends.flatten().bool()
    apart = (after.float() - state.float()).flatten(1).norm(dim=1)
    if not float(at.float().mean()) <= _MOST_ENDS or not float(apart[~at].mean()) > 0:
        return None
    return name, float(apart[at].mean() / apart[~at].mean())


def _are_marks(tensor: Tensor, size: int) -> bool:
    """Whether a tensor holds a 0 or a 1 for each example, and both."""
    if tensor.numel() != size or tensor.dim() == 0 or len(tensor) != size or tensor.is_complex():
        return False
    return bool(((tensor == 0) | (tensor == 1)).all()) and bool((tensor == 0).any()) and bool((tensor == 1).any())


def _ask(model: nn.Module, batch: Any, forward: Forward) -> float:
    with torch.enable_grad(), randomness_restored():
        torch.manual_seed(0)
        return float(forward(model, batch).detach().sum())


def _given(model: nn.Module, batch: Any, forward: Forward) -> tuple[Tensor | None, Tensor | None]:
    """Tensors of the batch that go into calls with gradients, and into those without: the only one of each kind."""
    own = [t for _, t in tensors(batch) if t.is_floating_point() and t.dim() > 1]
    seen: dict[bool, list[Tensor]] = {True: [], False: []}

    def look(module: nn.Module, args: Any) -> None:
        given = args[0] if args and isinstance(args[0], Tensor) else None
        kept = next((t for t in own if t is given), None)
        if kept is not None and not any(t is kept for t in seen[torch.is_grad_enabled()]):
            seen[torch.is_grad_enabled()].append(kept)

    handles = [module.register_forward_pre_hook(look) for module in model.modules()]
    try:
        _ask(model, batch, forward)
    finally:
        for handle in handles:
            handle.remove()
    with_gradients, without = seen[True], [t for t in seen[False] if not any(t is each for each in seen[True])]
    if len(with_gradients) != 1 or len(without) != 1 or with_gradients[0].shape != without[0].shape:
        return None, None
    return with_gradients[0], without[0]
