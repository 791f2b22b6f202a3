"""What the steps of a rehearsal did to the parameters of its loop."""

import math
from typing import Any

import torch

from trainability.doctor.measure.loop import Loop
from trainability.doctor.measure.twins import is_near_constant


def of_parameters(loop: Loop, start: dict[str, torch.Tensor], with_rate: set[int]) -> dict[str, Any]:
    """What the steps did to the parameters."""
    managed = {id(p) for optimizer in loop.optimizers for group in optimizer.param_groups for p in group["params"]}
    unmoved = tuple(name for name, p in loop.parameters.items() if torch.equal(p.detach(), start[name]))
    idle = loop.idle
    return {
        "distances": _distances(loop, start) if loop.opposed else (),
        "unmoved": unmoved,
        "not_written": tuple(name for name in unmoved if id(loop.parameters[name]) in loop.resolved),
        "without_gradient": tuple(
            n for n, p in loop.parameters.items() if id(p) in managed and id(p) not in loop.reached and n not in idle
        ),
        "frozen": tuple(name for name in unmoved if not loop.parameters[name].requires_grad),
        "idle": idle,
        "zero_rate": tuple(n for n, p in loop.parameters.items() if id(p) in managed - with_rate),
        "num_parameters": len(loop.parameters),
        "parted": tuple(n for n, p in loop.parameters.items() if is_near_constant(start[n]) and not is_near_constant(p)),
    }


def sums_of_unmanaged(loop: Loop, *, trainable: bool = False) -> list[float]:
    """Of each parameter, or trainable one, that no optimizer has, the sum: it stays, unless the loop itself moves it."""
    managed = {id(p) for optimizer in loop.optimizers for group in optimizer.param_groups for p in group["params"]}
    all_of_them = (p for model in loop.models for p in model.parameters())
    still = (p for p in all_of_them if id(p) not in managed and (p.requires_grad or not trainable))
    return [float(p.detach().sum()) for p in still if not p.is_complex()]


def _distances(loop: Loop, start: dict[str, torch.Tensor]) -> tuple[float, ...]:
    """Of each optimizer's parameters from their start, over their norm there; those that started at zero are left out."""
    found = []
    for optimizer in loop.optimizers:
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        pairs = [(p.detach(), start[name]) for name, p in loop.parameters.items() if id(p) in held and bool(start[name].any())]
        norms = [(float(torch.linalg.vector_norm(p - old)), float(torch.linalg.vector_norm(old))) for p, old in pairs]
        went, size = (math.hypot(*each) for each in zip(*norms, strict=True)) if norms else (0.0, 1.0)
        found.append(went / size)
    return tuple(found)


def with_rate(loop: Loop) -> set[int]:
    """Parameters whose group has a learning rate other than 0 now, by id."""
    groups = [group for optimizer in loop.optimizers for group in optimizer.param_groups]
    return {id(p) for group in groups if float(group.get("lr", 1.0)) != 0 for p in group["params"]}


def is_finite(loop: Loop) -> bool:
    """Whether all parameters are."""
    return all(bool(torch.isfinite(p.detach()).all()) for p in loop.parameters.values())
