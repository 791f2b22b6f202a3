"""A program whose optimizer maximises a number, as the one that minimises minus it."""

from __future__ import annotations

import copy
import dataclasses
import functools
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.measure.optimizer_settings import maximises
from trainability.doctor.setup import Setup


def minimised(setup: Setup) -> Setup:
    """The same training with a loss, where an optimizer with `maximize=True` is given a value to raise.

    Args:
        setup: with one optimizer that maximises in all its groups, whose body is not known; any other is returned as it is.

    Returns:
        A setup that takes the same steps from the same state: minus the number, and a second optimizer, without `maximize`,
        over the same parameters and with the same state. The program's own objects are left as they are.
    """
    optimizer, value = setup.optimizer, setup.training_step or setup.loss_fn
    if setup.step is not None or value is None or not isinstance(optimizer, torch.optim.Optimizer):
        return setup
    if not maximises(optimizer):
        return setup
    twin = copy.copy(optimizer)
    twin.param_groups = [{**group, "maximize": False} for group in optimizer.param_groups]
    scheduler = setup.scheduler
    if scheduler is not None and getattr(scheduler, "optimizer", None) is optimizer:
        scheduler = copy.copy(scheduler)
        scheduler.optimizer = twin
    name = "training_step" if setup.training_step is not None else "loss_fn"
    return dataclasses.replace(setup, optimizer=twin, scheduler=scheduler, **{name: _minus(value)})


def _minus(value: Any) -> Any:
    @functools.wraps(value, updated=())
    def loss(*args: Any) -> Tensor:
        return -value(*args)

    return loss
