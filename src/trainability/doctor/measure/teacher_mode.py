"""A frozen network that makes targets in train mode, so that it answers otherwise than it was trained to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.modules.module as module_hooks
from torch import Tensor, nn

from trainability.doctor.batches import tensors
from trainability.doctor.measure.global_hooks import on_every_call
from trainability.doctor.measure.graph import held_by_any_optimizer
from trainability.doctor.measure.loss_number import seeded_loss
from trainability.doctor.measure.randomness import randomness_restored, seed_torch
from trainability.doctor.measure.trained_mode import acts_in_training
from trainability.doctor.measure.workspace import set_training

_LEAST = 1e-2  # of the answers' spread, that train mode changes

Forward = Callable[[Any, Any], Tensor]


@dataclass
class _Called:
    """Calls of a network by the step itself."""

    module: nn.Module
    args: Any
    kwargs: Any
    layers: int  # in train mode, that drop or normalise
    answers: list[Tensor] = field(default_factory=list)
    given: list[Tensor] = field(default_factory=list)


def teacher_mode(model: nn.Module, batch: Any, forward: Forward) -> tuple[str, int, float] | None:
    """Find a network that nobody trains, whose answers are targets, and whose dropout or batch norm is in train mode.

    All of the model is put in eval mode first: of a part of the model only what the step sets by itself counts.

    Args:
        model: the caller puts buffers and random state back.
        batch: as the loop draws it.
        forward: of (model, batch), the loss.

    Returns:
        The class of the network, how many such layers are in train mode, and by how much its answers differ from those in eval
        mode, over their spread. None of a network whose weights have the shapes of trained ones, as an average of them has,
        which is meant to be in train mode in some methods; of one whose answers a trained part is given; of one that is given
        the same twice, as to average over dropout; and where the loss does not go by the answers.
    """
    modes = {module: module.training for module in model.modules()}
    try:
        set_training(model, False)
        return _found(model, batch, forward)
    finally:
        for module, mode in modes.items():
            module.training = mode


def _found(model: nn.Module, batch: Any, forward: Forward) -> tuple[str, int, float] | None:
    calls, taken, own = _calls(model, batch, forward)
    trained = Counter(tuple(p.shape) for p in model.parameters() if p.requires_grad)
    managed = held_by_any_optimizer() if calls else set()
    for call in calls:
        shapes = Counter(tuple(p.shape) for p in call.module.parameters())
        is_trained = any(id(p) in managed for p in call.module.parameters())
        is_repeated = any(torch.equal(a, b) for k, a in enumerate(call.given) for b in call.given[:k] if a.shape == b.shape)
        if is_trained or is_repeated or not shapes - trained or taken & {t.data_ptr() for t in call.answers}:
            continue
        change = _change(call)
        if change is not None and change >= _LEAST and _counts(call.module, model, batch, forward, own):
            return type(call.module).__name__, call.layers, change
    return None


def _calls(model: nn.Module, batch: Any, forward: Forward) -> tuple[list[_Called], set[int], float]:
    """Calls of frozen networks, addresses of what trained modules are given, and the loss."""
    found: dict[int, _Called] = {}
    taken: set[int] = set()
    trained = {id(m) for m in model.modules() if any(p.requires_grad for p in m.parameters())}
    running: list[nn.Module] = []

    def enter(module: nn.Module, args: Any) -> None:
        if id(module) in trained:
            taken.update(t.data_ptr() for _, t in tensors(args))
        running.append(module)

    def leave(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if running and running[-1] is module:
            running.pop()
        is_inner = any(id(m) not in trained for m in running)
        answers = [t for _, t in tensors(output) if t.is_floating_point()]
        if is_inner or id(module) in trained or not _is_frozen(module) or not answers or any(t.requires_grad for t in answers):
            return
        layers = sum(m.training and acts_in_training(m) for m in module.modules())
        if layers:
            call = found.setdefault(id(module), _Called(module=module, args=args, kwargs=kwargs, layers=layers))
            call.answers.extend(answers)
            call.given.extend(t.detach().clone() for _, t in list(tensors(args))[:1])

    handles = [on_every_call(leave), module_hooks.register_module_forward_pre_hook(enter)]
    try:
        own = seeded_loss(model, batch, forward)
    finally:
        for handle in handles:
            handle.remove()
    return list(found.values()), taken, own


def _is_frozen(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and (not torch.is_grad_enabled() or not any(p.requires_grad for p in parameters))


def _change(call: _Called) -> float | None:
    """By how much answers in train mode differ from those in eval mode, over the spread of the latter."""
    module = call.module
    modes = {m: m.training for m in module.modules()}
    buffers = [(b, b.detach().clone()) for b in module.buffers()]
    answers: list[Tensor] = []
    with torch.no_grad(), randomness_restored():
        try:
            for is_training in (True, False):
                for part, mode in modes.items():
                    part.training = mode and is_training
                seed_torch(0)
                found = [t for _, t in tensors(module(*call.args, **call.kwargs)) if t.is_floating_point()]
                answers += [t.detach().double() for t in found[:1]]
        finally:
            for part, mode in modes.items():
                part.training = mode
            for buffer, value in buffers:
                buffer.copy_(value)
    if len(answers) < 2 or answers[0].shape != answers[1].shape or answers[1].numel() < 2:
        return None
    return float((answers[0] - answers[1]).square().mean().sqrt() / answers[1].std().clamp(min=1e-30))


def _counts(module: nn.Module, model: nn.Module, batch: Any, forward: Forward, own: float) -> bool:
    """Whether the loss is the same again, and another with another example's answers."""
    if seeded_loss(model, batch, forward) != own:
        return False
    handle = module.register_forward_hook(
        lambda called, args, output: output.roll(1, dims=0) if isinstance(output, Tensor) and output.dim() > 0 else None
    )
    try:
        return seeded_loss(model, batch, forward) != own
    finally:
        handle.remove()
