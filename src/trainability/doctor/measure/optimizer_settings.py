"""How an optimizer will move weights, read from its groups."""

from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import CyclicLR, OneCycleLR

from trainability.doctor.evidence import OptimizerSettings
from trainability.doctor.measure.as_drawn import frozen_as_drawn, were_trained
from trainability.doctor.measure.factors import largest_factor, scheduler_of
from trainability.doctor.measure.frozen_tables import random_tables
from trainability.doctor.measure.graph import held_by_any_optimizer, managed_parameters
from trainability.doctor.measure.unusable import unusable_number


def maximises(optimizer: torch.optim.Optimizer) -> bool:
    """Whether an optimizer raises what goes backward, with all that it holds, instead of lowering it."""
    return bool(optimizer.param_groups) and all(group.get("maximize") for group in optimizer.param_groups)


def optimizer_settings(
    optimizer: torch.optim.Optimizer,
    model: nn.Module | None = None,
    *,
    clip: float | None = None,
    planned_steps: int | None = None,
    steps_alone: bool = False,
) -> OptimizerSettings:
    """Read an optimizer's groups; with the model, also which trainable parameters no optimizer holds.

    Args:
        optimizer: with a learning rate in each group.
        model: that it trains; None to read the groups alone.
        clip: gradient-norm threshold of the loop.
        planned_steps: of the whole run.
        steps_alone: whether it is the only one that the loop steps: where it holds none of the model's parameters, another
            optimizer that holds them is of no use.
    """
    groups = optimizer.param_groups
    fastest = max(groups, key=lambda group: float(group["lr"]))
    momentum, dampening = fastest.get("momentum"), fastest.get("dampening")
    managed, scheduler = managed_parameters(optimizer), scheduler_of(optimizer)
    named = list(model.named_parameters()) if model is not None else []
    missing = [(name, p) for name, p in named if p.requires_grad and id(p) not in managed]
    is_of_another = steps_alone and len(missing) == sum(p.requires_grad for _, p in named)
    elsewhere = held_by_any_optimizer() if missing and not is_of_another else set()
    unmanaged = [(name, p) for name, p in missing if id(p) not in elsewhere]
    betas = fastest.get("betas") if "Adam" in type(optimizer).__name__ else None
    return OptimizerSettings(
        name=type(optimizer).__name__,
        lr=float(fastest["lr"]),
        base_lr=float(fastest["initial_lr"]) if "initial_lr" in fastest else None,
        largest_factor=largest_factor(optimizer),
        schedule=type(scheduler).__name__ if scheduler is not None else None,
        max_lr=_max_lr(scheduler),
        num_rates=len({float(group["lr"]) for group in groups}),
        momentum=float(momentum) if momentum is not None else None,
        dampening=float(dampening) if dampening is not None else None,
        betas=(float(betas[0]), float(betas[1])) if betas is not None and len(betas) == 2 and betas[1] > 0 else None,
        weight_decay=max(float(group.get("weight_decay") or 0.0) for group in groups) or None,
        clip=clip,
        planned_steps=planned_steps,
        unmanaged=tuple(name for name, _ in unmanaged),
        unmanaged_share=_numbers(unmanaged) / max(_numbers([(n, p) for n, p in named if p.requires_grad]), 1)
        if named
        else None,
        unmanaged_trained=model is not None and were_trained(model, {id(p) for _, p in unmanaged}),
        managed=sum(id(p) in managed for _, p in named if p.requires_grad) if model is not None else None,
        # What the optimizer has stepped is frozen for a part of each step only, as a discriminator is in the generator's.
        frozen=tuple(name for name, p in named if not p.requires_grad and not optimizer.state.get(p)),
        frozen_as_drawn=frozen_as_drawn(model) if model is not None and any(not p.requires_grad for _, p in named) else (),
        frozen_noise=random_tables(model) if model is not None else (),
        unusable=unusable_number(optimizer),
    )


def settings_if_any(
    optimizer: torch.optim.Optimizer,
    model: nn.Module | None = None,
    *,
    clip: float | None = None,
    planned_steps: int | None = None,
    steps_alone: bool = False,
) -> OptimizerSettings | None:
    """`optimizer_settings`, or None if a group has no learning rate, as with Levenberg and Marquardt's method."""
    if not optimizer.param_groups or any(group.get("lr") is None for group in optimizer.param_groups):
        return None
    return optimizer_settings(optimizer, model, clip=clip, planned_steps=planned_steps, steps_alone=steps_alone)


def _max_lr(scheduler: Any) -> float | None:
    """Of `CyclicLR`, which keeps its own, and `OneCycleLR`, which writes them into the groups."""
    if isinstance(scheduler, CyclicLR):
        return max(map(float, scheduler.max_lrs))
    groups = scheduler.optimizer.param_groups if isinstance(scheduler, OneCycleLR) else ()
    return max((float(group["max_lr"]) for group in groups), default=None)


def _numbers(named: list[tuple[str, nn.Parameter]]) -> int:
    return sum(p.numel() for _, p in named if not nn.parameter.is_lazy(p))
