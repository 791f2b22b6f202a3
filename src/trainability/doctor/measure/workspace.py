"""A place to run somebody's model in: a copy of it, or, where there can be none, the model itself, put back afterwards."""

import contextlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from trainability.doctor.batches import cloned
from trainability.doctor.measure import stance
from trainability.doctor.measure.copies import copied
from trainability.doctor.measure.nested import modules
from trainability.doctor.measure.outside import outside_restored, plain_function
from trainability.doctor.measure.put_back import put_back
from trainability.doctor.measure.randomness import randomness_restored
from trainability.doctor.measure.uses import used_by
from trainability.doctor.theory.trace import plain_module


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """What may be run, changed and thrown away.

    Attributes:
        model: the plain module, or a copy.
        loss_fn: belongs to that model.
        batch: a copy.
        in_place: `model` is somebody's own.
        notes: what could not be copied, and what that means.
    """

    model: nn.Module
    loss_fn: Any
    batch: Any
    in_place: bool
    notes: tuple[str, ...]


@contextlib.contextmanager
def workspace(model: nn.Module, loss_fn: Any, batch: Any) -> Iterator[Workspace]:
    """Copy a model with its loss function and a batch; random state and what is changed outside are put back.

    A loss function that reaches the model itself (weight decay in the loss) would not reach the copy: then, and where no copy
    can be made, the model itself is run plain and put back: modes, parameters, buffers, gradients and attributes.

    Raises:
        ValueError: the model itself would have to be run and has lazy layers, which cannot be made lazy again.
    """
    plain = plain_module(model)
    # What a partial, a method or an object holds is copied along; what a closure or a global holds is not.
    reached = used_by(plain_function(loss_fn)) if inspect.isroutine(loss_fn) or hasattr(loss_fn, "func") else []
    own = {id(module) for module in plain.modules()}
    in_place = any(id(module) in own for part in modules(reached) for module in part.modules())
    notes: tuple[str, ...] = ()
    twin, twin_loss = plain, loss_fn
    if not in_place:
        try:
            twin, twin_loss = copied(plain, loss_fn)
        except ValueError as error:
            in_place = True
            notes = (
                f"{_first_line(error)}; it was run itself: weights, buffers, gradients, modes and attributes are put back, "
                "and what else its forward changes is not",
            )
    lazy = any(nn.parameter.is_lazy(p) for p in (*twin.parameters(), *twin.buffers()))
    if lazy and in_place:
        raise ValueError("the model has lazy layers and cannot be copied; run one batch through it first")
    with contextlib.ExitStack() as stack:
        stack.enter_context(randomness_restored())
        stack.enter_context(outside_restored(plain, loss_fn))
        stack.enter_context(put_back(*reached, *((plain,) if in_place else ())))
        stance.run_plain()
        stack.callback(stance.run_compiled)
        if in_place:
            for parameter in plain.parameters():
                parameter.grad = None
        compiled = [m for m in twin.modules() if getattr(m, "_compiled_call_impl", None)]
        for module in compiled:
            stack.callback(setattr, module, "_compiled_call_impl", module._compiled_call_impl)
            module._compiled_call_impl = None
        stack.enter_context(torch.enable_grad())
        yield Workspace(model=twin, loss_fn=twin_loss, batch=cloned(batch), in_place=in_place, notes=notes)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def set_training(model: nn.Module, training: bool) -> None:
    """Set the mode of every module without calling `train`, which somebody's class may have given another meaning."""
    for module in model.modules():
        module.training = training


def begin_training(model: nn.Module) -> None:
    """Set the mode as `model.train()` in a loop does: classes of the user's that keep parts in evaluation mode do so here.

    That is a `train` of their own which takes the mode alone, as to freeze batch norms.
    """
    set_training(model, True)
    for module in model.modules():
        if type(module).train is nn.Module.train:
            continue
        with contextlib.suppress(Exception):
            if list(inspect.signature(module.train).parameters) == ["mode"]:
                module.train(True)
