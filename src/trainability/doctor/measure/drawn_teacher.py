"""A network outside the model that makes its targets, and into which no weights were loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.modules.module as module_hooks
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.as_drawn import is_as_drawn, weight_of
from trainability.doctor.measure.global_hooks import on_every_call
from trainability.doctor.measure.graph import held_by_any_optimizer
from trainability.doctor.measure.loss_number import seeded_loss
from trainability.doctor.measure.statistics import local

_FEWEST_LAYERS, _FEWEST_ROWS = 2, 8

Forward = Callable[[Any, Any], Tensor]


def drawn_teacher(model: nn.Module, batch: Any, forward: Forward) -> tuple[str, int] | None:
    """Find a network outside the model, with PyTorch's initial weights, whose outputs the loss goes by.

    Left out is one that holds a copy of a weight of the model's or has the same shapes, as a target network, one that an
    optimizer trains, one whose outputs need a gradient or go into the model, and a batch without a label for each example:
    there, random targets may be meant (random network distillation).

    Args:
        model: plain.
        batch: holds whole numbers, one for each example.
        forward: of (model, batch), the loss.

    Returns:
        The class of the network, and how many linear layers and convolutions it has, all as drawn; None if there is none.
    """
    if not any(_are_labels(t) for _, t in tensors(batch)):
        return None
    inside = {id(m) for m in model.modules()}
    weights = {tuple(p.shape): p for p in model.parameters()}
    called: dict[int, nn.Module] = {}
    made: dict[int, set[int]] = {}
    taken: set[int] = set()
    kept: list[Tensor] = []  # an address is unique only while its tensor lives
    depth = 0

    def enter(module: nn.Module, args: Any) -> None:
        nonlocal depth
        if id(module) not in inside:
            depth += 1
        else:
            taken.update(t.data_ptr() for _, t in tensors(args))

    def leave(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        nonlocal depth
        if id(module) in inside:
            return
        depth -= 1
        answers = [t for _, t in tensors(output)]
        if depth == 0 and answers and not any(t.requires_grad for t in answers):
            called.setdefault(id(module), module)
            kept.extend(answers)
            made.setdefault(id(module), set()).update(t.data_ptr() for t in answers)

    own = _loss_of(model, batch, forward, enter, leave)
    if own != seeded_loss(model, batch, forward):
        return None
    managed = held_by_any_optimizer() if called else set()
    for module in called.values():
        layers = [m for m in module.modules() if weight_of(m) is not None]
        drawn = [m for m in layers if is_as_drawn(m)]
        copied = any(_is_copy(weights.get(tuple(p.shape)), p) for p in module.parameters())
        is_twin = sorted(tuple(p.shape) for p in module.parameters()) == sorted(tuple(p.shape) for p in model.parameters())
        is_trained = any(id(p) in managed for p in module.parameters())
        if len(layers) < _FEWEST_LAYERS or len(drawn) < len(layers) or copied or is_twin or is_trained:
            continue
        if made[id(module)] & taken:  # features, which the model is given
            continue
        if _loss_of(model, batch, forward, None, _exchange(module)) != own:
            return type(module).__name__, len(layers)
    return None


def _are_labels(t: Tensor) -> bool:
    return t.dtype == torch.int64 and t.dim() == 1 and len(t) >= _FEWEST_ROWS and 1 < len(t.unique()) < len(t)


def _is_copy(own: Tensor | None, other: Tensor) -> bool:
    return own is not None and other.dim() > 1 and torch.equal(local(own.detach()).cpu(), local(other.detach()).cpu())


def _exchange(module: nn.Module) -> Callable[..., Any]:
    """A hook by which a module returns another example's answers."""
    return lambda called, args, kwargs, output: (
        output.roll(1, dims=0) if called is module and isinstance(output, Tensor) and output.dim() > 0 else None
    )


def _loss_of(
    model: nn.Module, batch: Any, forward: Forward, enter: Callable[..., Any] | None, leave: Callable[..., Any]
) -> float:
    handles = [on_every_call(leave)]
    if enter is not None:
        handles.append(module_hooks.register_module_forward_pre_hook(enter))
    try:
        return seeded_loss(model, batch, forward)
    finally:
        for handle in handles:
            handle.remove()
