"""Whether a model answers inputs as they are in validation as it answers those of training: it may standardise each itself."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.audit_results import DataAudit
from trainability.doctor.batches import first_tensor
from trainability.doctor.facts import Facts
from trainability.doctor.measure.put_back import put_back
from trainability.doctor.measure.randomness import randomness_restored

_NEARLY = 0.02  # of the answers' spread between examples: a standardisation has a small constant below the line
_MOST_EXAMPLES = 64


def same_at_scale_of_validation(model: nn.Module, images: Tensor, data: DataAudit | None) -> bool:
    """Give a model training's examples with validation's mean and spread of each channel, and compare its answers.

    Args:
        model: asked in evaluation mode; its modes and buffers are put back.
        images: of training.
        data: with the means and standard deviations of both splits; None where they are not known.

    Returns:
        Whether all answers stay as they are, or are scaled and shifted as the inputs are, and differ between examples; False
        where the splits are alike, so that nothing is asked.
    """
    if data is None or not _differ(data):
        return False
    train, held_out = data.train, data.validation
    if held_out is None or not train.channel_means or len(train.channel_means) != len(held_out.channel_means):
        return False
    device = next((p.device for p in model.parameters()), images.device)
    x = images.detach()[:_MOST_EXAMPLES].to(device)
    if not x.is_floating_point() or len(x) < 2:
        return False
    shape = (1, -1, *(1,) * (x.dim() - 2)) if x.dim() > 2 else (1, 1)  # as the audit counts: a row of a table is one channel
    if x.dim() > 2 and x.shape[1] != len(train.channel_means):
        return False
    a, b, s, t = (
        torch.tensor(v, dtype=x.dtype, device=x.device).reshape(shape)
        for v in (train.channel_means, held_out.channel_means, train.channel_stds, held_out.channel_stds)
    )
    if bool((s <= 0).any()):
        return False
    with put_back(model), randomness_restored(), torch.no_grad():
        model.eval()
        before, after = first_tensor(model(x)), first_tensor(model((x - a) / s * t + b))
    if before is None or after is None or before.shape != after.shape or not before.is_floating_point():
        return False
    spread = float((before - before.mean(dim=0)).abs().amax())
    moved = (before - a.flatten()[0]) / s.flatten()[0] * t.flatten()[0] + b.flatten()[0] if a.numel() == 1 else before
    return any(spread > 0 and float((after - kept).abs().amax()) <= _NEARLY * spread for kept in (before, moved))


def with_scale(facts: Facts | None, model: nn.Module | None, batch: Any, data: DataAudit | None) -> Facts | None:
    """Add to certain facts whether the scale of validation makes no difference to the model.

    Args:
        facts: as they are; None is left so, unless there is something to say.
        model: None where there are several, or none is known.
        batch: of training: inputs and targets.
        data: of both splits.
    """
    with contextlib.suppress(Exception):  # a model that takes more than the inputs
        if model is not None and same_at_scale_of_validation(model, batch[0], data):
            facts = facts or Facts()
            return replace(facts, readings=replace(facts.readings, same_at_scale=True))
    return facts


def _differ(data: DataAudit) -> bool:
    """Whether a mean or a spread differs so much that `split_shift` may say so."""
    if data.validation is None:
        return False
    a, b = data.train, data.validation
    of_each = zip(a.channel_means, b.channel_means, a.channel_stds, b.channel_stds, strict=False)
    return any(abs(m - n) > 0.25 * (s + t) or max(s, t) > 2 * min(s, t) for m, n, s, t in of_each)
