"""A LightningModule's step without its Trainer, in the forms that `trainability.check` takes."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.loss_number import scalar
from trainability.loops.following import parts_of

HOOKS = ("optimizer_zero_grad", "optimizer_step", "on_before_zero_grad", "on_after_backward", "on_before_optimizer_step")
"""Methods by which a module changes what a step is, and that need no Trainer."""


def network_of(module: Any, optimizer: torch.optim.Optimizer) -> tuple[str, nn.Module]:
    """The network inside a LightningModule, which its training step calls; layers are followed from there on.

    Args:
        module: a LightningModule.
        optimizer: over its parameters.

    Returns:
        The child that holds all trained parameters and its attribute; the module itself and "" where there is none, and where
        the module is called itself.
    """
    ((_, part),) = parts_of(module, [optimizer])
    has_forward = type(module).forward is not nn.Module.forward and "forward" in vars(type(module))
    names = [name for name, child in module.named_children() if child is part]
    return (names[0], part) if names and not has_forward else ("", module)


def own_forms(module: Any, name: str, base: type, clip: float | None) -> dict[str, Any]:
    """What a step is: `training_step`, and `step` where the module clears, steps or goes backward by itself.

    Args:
        module: a LightningModule; it is borrowed while a form runs and left as it was.
        name: attribute under which it holds the network, of `network_of`.
        base: `LightningModule`; what differs from it is the module's own.
        clip: gradient-norm threshold of the Trainer.

    Returns:
        Arguments of `trainability.check`. A module with manual optimisation has `step` alone.
    """

    def run(held: Any, batch: Any) -> Any:
        given = (batch, 0)[: len(inspect.signature(held.training_step).parameters)]
        return held.training_step(*given)

    def training_step(model: Any, batch: Any) -> Any:
        with _standing_in(module, name, model) as held:
            return run(held, batch)

    def automatic(model: Any, optimizer: Any, batch: Any) -> Any:
        losses: list[Tensor] = []
        with _standing_in(module, name, model) as held:

            def closure() -> Tensor:
                loss = scalar(run(held, batch))
                held.on_before_zero_grad(optimizer)
                held.optimizer_zero_grad(0, 0, optimizer)
                loss.backward()
                held.on_after_backward()
                held.on_before_optimizer_step(optimizer)
                if clip is not None:
                    nn.utils.clip_grad_norm_(list(model.parameters()), clip)
                losses.append(loss.detach())
                return loss

            held.optimizer_step(0, 0, optimizer, closure)
        return losses[-1] if losses else None

    def manual(model: Any, optimizer: Any, batch: Any) -> Any:
        losses: list[Tensor] = []

        def backward(loss: Tensor, *args: Any, **kwargs: Any) -> None:
            loss.backward(*args, **kwargs)
            losses.append(loss.detach())

        methods = {"optimizers": lambda *_, **__: optimizer, "manual_backward": backward}
        with _standing_in(module, name, model) as held, _replaced(held, methods):
            run(held, batch)
        return losses[-1] if losses else None

    if not module.automatic_optimization:
        return {"step": manual}
    own = any(getattr(type(module), hook) is not getattr(base, hook) for hook in HOOKS)
    return {"training_step": training_step, **({"step": automatic} if own else {})}


@contextlib.contextmanager
def _standing_in(module: Any, name: str, model: Any) -> Iterator[Any]:
    """The module with this network, a copy of its own, in its place; without a name the network is a copy of the module."""
    if not name:
        yield model
        return
    kept = module._modules[name]
    module._modules[name] = model
    try:
        yield module
    finally:
        module._modules[name] = kept


@contextlib.contextmanager
def _replaced(module: Any, methods: dict[str, Callable[..., Any]]) -> Iterator[None]:
    """Methods of the Trainer's that manual optimisation calls."""
    vars(module).update(methods)
    try:
        yield
    finally:
        for name in methods:
            del vars(module)[name]
