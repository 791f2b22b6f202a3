"""What is to be looked at: somebody's model, loaders, loss, optimizer and metric."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainability.doctor.arguments import (
    check_batches,
    check_clip,
    check_function,
    check_known_counts,
    check_seconds,
    with_near_names,
)
from trainability.doctor.measure.nested import modules, optimizers
from trainability.doctor.told import told

_FUNCTIONS = {"loss_fn": "output, labels", "training_step": "model, batch", "step": "model, optimizer, batch"}


INTERVALS = ("step", "epoch")


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A training that has not begun; the function that `trainability check MODULE:FUNCTION` calls returns one.

    What a step of the loop is, is said in one of three forms: `step` goes before `training_step`, and that before `loss_fn`.

    Attributes:
        model: a module, or several that train together: a dict, tuple or list of them.
        train_loader: yields batches, as the loop will see them: (input, label) or (input, ..., label) for `loss_fn`, where
            input may be a tuple or a dict of tensors; anything for the other two.
        loss_fn: of (output, label), one number; `None` takes cross-entropy, or the other two forms where one is given.
        training_step: of (model, batch): the loss, without backward and optimizer step. It uses the `model` that it is given.
        step: of (model, optimizer, batch): the whole body of the loop, optimizer step included; returns the loss.
        val_loader: as `train_loader`; `None` if there is none.
        optimizer: over the model's parameters, or several, as `model`; `None` leaves out the rehearsal (unless `step` has
            its own optimizer), update ratios and the predicted plateau.
        scheduler: of the learning rate; `None` for a constant rate. `step`, where it is given, steps it itself.
        scheduler_interval: when the loop steps the scheduler: `"step"`, after each update, or `"epoch"`, after each pass over
            the loader. `None`, not known: it is stepped after each update, unless that would spend the schedule in one pass, or
            before half of `planned_steps` where it lasts longer if it is stepped per epoch; then it is not stepped.
        metric: a function of a list of (logits, labels) batches, an object with `update` and `compute`, or a function of one
            (logits, labels); `None` leaves it out.
        num_classes: of the task.
        clip: gradient-norm threshold of the loop; `None` for no clipping.
        planned_steps: updates of the whole run.
        rehearse_seconds: time for some steps of the loop on a copy; 0 or `None` leaves them out.

    Raises:
        ValueError: `model` holds no module or weights without values, a loader cannot be iterated over, a function cannot be
            called, or a number is below what it may be.
    """

    model: Any
    train_loader: Iterable[Any]
    loss_fn: Callable[[Any, Any], Tensor] | None = None
    training_step: Callable[[Any, Any], Any] | None = None
    step: Callable[[Any, Any, Any], Any] | None = None
    val_loader: Iterable[Any] | None = None
    optimizer: Any = None
    scheduler: Any = None
    scheduler_interval: Literal["step", "epoch"] | None = None
    metric: Any = None
    num_classes: int | None = None
    clip: float | None = None
    planned_steps: int | None = None
    rehearse_seconds: float | None = 10.0

    def __post_init__(self) -> None:
        found = modules(self.model)
        if not found and inspect.isroutine(self.model):
            raise ValueError(f"model is {told(self.model)}; expected a torch.nn.Module; call the function if it makes one")
        if not found:
            raise ValueError(f"model is {told(self.model)}; expected a torch.nn.Module, or a dict or tuple of them")
        if any(parameter.is_meta for model in found for parameter in model.parameters()):
            raise ValueError("model is on the meta device, where weights have no values; build it on cpu or cuda")
        check_batches(train_loader=self.train_loader, val_loader=() if self.val_loader is None else self.val_loader)
        for name, takes in _FUNCTIONS.items():
            if (value := getattr(self, name)) is not None:
                check_function(name, value, takes)
        if self.optimizer is not None and not optimizers(self.optimizer):
            raise ValueError(
                f"optimizer is {told(self.optimizer)}; expected a torch.optim.Optimizer, a dict, tuple or list of them, or an "
                "object that holds them"
            )
        check_clip(self.clip)
        check_seconds(rehearse_seconds=0 if self.rehearse_seconds is None else self.rehearse_seconds)
        if self.scheduler_interval not in (None, *INTERVALS):
            raise ValueError(f'scheduler_interval is {told(self.scheduler_interval)}; expected "step", "epoch", or None')
        check_known_counts(num_classes=self.num_classes, planned_steps=self.planned_steps)

    @property
    def whole_model(self) -> nn.Module | None:
        """The model, where there is one and not several."""
        return self.model if isinstance(self.model, nn.Module) else None

    @property
    def loss(self) -> Callable[[Any, Any], Tensor] | None:
        """`loss_fn`, cross-entropy where nothing says what the loss is; None where only the other two forms do."""
        return self.loss_fn or (None if self.training_step or self.step else F.cross_entropy)

    @property
    def single_optimizer(self) -> torch.optim.Optimizer | None:
        """The optimizer, where there is one and not several; one that wraps another is unwrapped."""
        found = optimizers(self.optimizer)
        return found[0] if len(found) == 1 else None


_FIELDS = frozenset(field.name for field in fields(Setup))
_set, _delete = Setup.__setattr__, Setup.__delattr__


def _refuse_assignment(setup: Setup, name: str, value: object) -> None:
    if name not in _FIELDS:
        _set(setup, name, value)
        return
    raise AttributeError(f"a Setup cannot be changed; dataclasses.replace(setup, {name}=...) makes another one")


def _refuse_deletion(setup: Setup, name: str) -> None:
    if name not in _FIELDS:
        _delete(setup, name)
        return
    raise AttributeError(f"a Setup cannot be changed; dataclasses.replace(setup, {name}=None) makes another one")


# A dataclass's own say that a name is unexpected, or a field frozen, and no more.
Setup.__init__ = with_near_names(Setup.__init__)
Setup.__setattr__, Setup.__delattr__ = _refuse_assignment, _refuse_deletion  # type: ignore[method-assign, assignment]
