"""Steps whose numbers wait on the device, until a sampled step brings them over."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainability.doctor.evidence import StepRecord
from trainability.doctor.measure.blocks import Block

Number = Tensor | float | None
"""On the device, on the host, or unknown."""


@dataclass(frozen=True, kw_only=True)
class PendingStep:
    """One step.

    Attributes:
        numbers: by field of `StepRecord`, and "gauges_before" and "gauges_after" of clipping in place of its ratio; tensors are
            written by nobody else. Of a vector, which holds the norms of many gradients, the number is its own norm.
        facts: the other fields, `step` among them.
    """

    numbers: Mapping[str, Number]
    facts: Mapping[str, Any]


def settled(number: Tensor) -> Tensor | float:
    """A number that is on the host already, read at once (of a vector its norm); one on a device as it is.

    Small tensors that live from step to step lie between the large ones that every step frees. On a CPU they split the heap, so
    that a step takes fresh pages for what it could have used again, which costs more than all that is measured here.
    """
    if type(number) is not Tensor or number.device.type != "cpu":
        return number
    return number.item() if number.numel() == 1 else math.hypot(*number.tolist())


def blocks_of(steps: Sequence[PendingStep]) -> list[Block]:
    """The steps' numbers that are on the device, together."""
    waiting: dict[str, list[tuple[Hashable, Tensor]]] = {}
    for step in steps:
        for kind, value in step.numbers.items():
            if isinstance(value, Tensor):
                waiting.setdefault(kind, []).append((step.facts["step"], value))
    found = []
    for kind, rows in waiting.items():
        device = rows[0][1].device
        values = _in_one([value.to(device) for _, value in rows])
        found.append(Block(kind=_kind(kind), rows=tuple(step for step, _ in rows), values=values))
    return found


def _in_one(values: Sequence[Tensor]) -> Tensor:
    """(values,) numbers; vectors of one length are joined together."""
    if len({value.shape for value in values}) > 1:
        return torch.cat([_in_one([value]) for value in values])
    stacked = torch.stack(list(values))
    return (stacked if stacked.dim() == 1 else torch.linalg.vector_norm(stacked, dim=1)).float()


def records_of(steps: Sequence[PendingStep], numbers: Mapping[str, Mapping[Hashable, float]]) -> list[StepRecord]:
    """The steps with their numbers, as `to_host` brought them over."""
    records = []
    for step in steps:
        known: dict[str, Any] = {
            kind: numbers[_kind(kind)][step.facts["step"]] if isinstance(value, Tensor) else value
            for kind, value in step.numbers.items()
        }
        records.append(
            StepRecord(clip_ratio=_clip_ratio(known.pop("gauges_before"), known.pop("gauges_after")), **known, **step.facts)
        )
    return records


def _clip_ratio(before: float | None, after: float | None) -> float | None:
    """Without any gradient it tells nothing."""
    if before is None or after is None or not before > 0 or not math.isfinite(after / before):
        return None
    return min(after / before, 1.0)


def _kind(field: str) -> str:
    return f"step {field}"


def mean_of(losses: Sequence[Tensor | float]) -> Tensor | float:
    """The mean of a step's losses; of one, that one."""
    if len(losses) == 1:
        return losses[0]
    if all(isinstance(loss, float) for loss in losses):
        return sum(map(float, losses)) / len(losses)
    device = next(loss.device for loss in losses if isinstance(loss, Tensor))
    return torch.stack([torch.as_tensor(loss, device=device).float() for loss in losses]).mean()


def learning_rate(optimizer: torch.optim.Optimizer | None) -> Tensor | float | None:
    """The highest of an optimizer's groups; on the device where the optimizer keeps it there."""
    rates = [group["lr"] for group in optimizer.param_groups if "lr" in group] if optimizer is not None else []
    on_device = [rate for rate in rates if isinstance(rate, Tensor) and rate.device.type != "cpu"]
    if not on_device:
        return max((float(rate) for rate in rates), default=None)
    others = (torch.as_tensor(float(r), device=on_device[0].device) for r in rates if not any(r is d for d in on_device))
    return torch.stack([rate.detach().reshape(()).float() for rate in (*on_device, *others)]).amax()
