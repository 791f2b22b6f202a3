"""The whole body of a loop as a function of models and batch that returns its loss, for looks that take no step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.copies import copied
from trainability.doctor.measure.exits import exit_as_error
from trainability.doctor.measure.nested import optimizers
from trainability.doctor.measure.replaced import replaced
from trainability.doctor.measure.uses import reaches, used_by


class Parts(nn.Module):
    """Several models under their names; it is never called itself."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.is_dict, self.is_tuple = isinstance(model, dict), isinstance(model, tuple)
        for name, part in model.items() if isinstance(model, dict) else enumerate(model):
            self.add_module(str(name), part)

    def structure(self) -> Any:
        """The models as the loop is given them."""
        if self.is_dict:
            return dict(self.named_children())
        return tuple(self.children()) if self.is_tuple else list(self.children())


def as_one(model: Any) -> nn.Module | None:
    """The model, or several of a dict, tuple or list as one; None of structures within structures."""
    if isinstance(model, nn.Module):
        return model
    parts = list(model.values()) if isinstance(model, dict) else list(model)
    names = [str(name) for name in model] if isinstance(model, dict) else []
    if not all(isinstance(part, nn.Module) for part in parts) or any("." in n or not n or hasattr(nn.Module, n) for n in names):
        return None
    return Parts(model)


def loss_of_body(
    model: Any, optimizer: Any, step: Callable[[Any, Any, Any], Any], losses: list[Tensor]
) -> Callable[[Any, Any], Tensor] | None:
    """The body as a function of (model, batch): what it calls `backward` on, summed, with its graph; optimizers stand still.

    Args:
        model: as the loop is given it.
        optimizer: likewise.
        step: of (model, optimizer, batch): the whole body.
        losses: is refilled at every call with the losses, in order.

    Returns:
        The function; what it is given as model is `as_one` of a copy. None where the body reaches
        these models and optimizers, or optimizers of its own, by itself.

    Raises:
        ValueError: models and optimizers cannot be copied.
    """
    if reaches(step, model, optimizer) or any(isinstance(item, torch.optim.Optimizer) for item in used_by(step)):
        return None
    steppers = copied(model, optimizer)[1]
    single = len(optimizers(steppers)) == 1

    # An optimizer's own step may be given the model first.
    def stand_still(closure: Any = None, *_: Any, **__: Any) -> Any:
        value = closure() if callable(closure) and not isinstance(closure, nn.Module) else None
        if single and losses:
            raise _Stepped  # what comes behind the step (an average, a limit) would write to weights that the graph holds
        return value

    for each in optimizers(steppers):
        each.step = stand_still  # type: ignore[method-assign]

    def forward(model: Any, batch: Any) -> Tensor:
        losses.clear()
        given = model.structure() if isinstance(model, Parts) else model
        weights = [(p, p.detach().clone()) for p in model.parameters()]
        try:
            with contextlib.suppress(_Stepped), torch.enable_grad(), _recorded(losses), exit_as_error():
                step(given, steppers, batch)
        finally:
            for p, value in weights:
                p.data.copy_(value)  # without a new version: the graph is read after this
                p.grad = None
        if not losses:
            raise ValueError("the body calls backward() on nothing")
        return torch.stack([loss.sum().float() for loss in losses]).sum()

    return forward


def is_turned(gradient: Any) -> bool:
    """Whether a backward pass from one number is given a negative gradient: it follows the number's negative."""
    if isinstance(gradient, tuple | list) and len(gradient) == 1:
        (gradient,) = gradient
    return isinstance(gradient, Tensor) and gradient.numel() == 1 and not gradient.is_complex() and float(gradient) < 0


class _Stepped(BaseException):
    """Ends the body at the step of its only optimizer; no loop's own `except Exception` takes it."""


@contextlib.contextmanager
def _recorded(losses: list[Tensor]) -> Iterator[None]:
    """Notes what `backward` is called on, and keeps its graph."""
    plain = torch.Tensor.backward
    known: list[Tensor] = []

    def backward(self: Tensor, *args: Any, **kwargs: Any) -> None:
        if not any(loss is self for loss in known):  # a function mode calls it once more
            known.append(self)
            losses.append(-self if is_turned(args[0] if args else kwargs.get("gradient")) else self)
        names = ("gradient", "retain_graph", "create_graph", "inputs")
        if not self.requires_grad:  # another answer stands in the place of the model's
            return
        plain(self, **(dict(zip(names, args, strict=False)) | kwargs | {"retain_graph": True}))

    torch.Tensor.backward = backward  # type: ignore[method-assign]
    try:
        with _without_scaling():
            yield
    finally:
        torch.Tensor.backward = plain  # type: ignore[method-assign]


@contextlib.contextmanager
def _without_scaling() -> Iterator[None]:
    """Disable `GradScaler`: `scale` returns what it is given, `step` calls the optimizer's, and the others do nothing."""

    def step(original: Callable[..., Any], scaler: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        return optimizer.step(*args, **kwargs)

    with contextlib.ExitStack() as stack:
        stack.enter_context(replaced(torch.amp.GradScaler, "scale", lambda original, scaler, outputs: outputs))
        stack.enter_context(replaced(torch.amp.GradScaler, "step", step))
        for name in ("unscale_", "update"):
            stack.enter_context(replaced(torch.amp.GradScaler, name, lambda original, *args, **kwargs: None))
        yield
