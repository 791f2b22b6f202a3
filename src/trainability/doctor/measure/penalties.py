"""A term of the loss that depends on the weights alone, and pulls them towards zero."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.instead import loss_of, returned_once
from trainability.doctor.measure.put_back import put_back

_TOWARDS_ZERO = 0.7  # cosine of the term's gradient and the weights: 1 of squares, 0.8 of absolute values of normal weights

Forward = Callable[[Any, Any], Tensor]


def weight_penalty(model: nn.Module, batch: Any, forward: Forward) -> tuple[float, float] | None:
    """Compare the gradient that does not go through what the model returns with the rest of it.

    Args:
        model: called once in a step; runs as it is.
        batch: of any structure.
        forward: of (model, batch), the loss.

    Returns:
        How many times as large the gradient of the term is as that of the rest of the loss, for the typical weight of two
        dimensions and more; and the share of the loss that is gone where all weights are zero and the outputs as they were.
        None where there is no such term, or it does not pull to zero.
    """
    weights = [p for p in model.parameters() if p.requires_grad and p.dim() > 1]
    own = returned_once(model, batch, forward) if weights else None
    if own is None or not own.tensors:
        return None
    term = loss_of(model, batch, forward, own, own.tensors)
    if not term.requires_grad:
        return None
    pulls = torch.autograd.grad(term, weights, allow_unused=True)
    with torch.enable_grad():
        whole = forward(model, batch).sum()
    slopes = torch.autograd.grad(whole, weights, allow_unused=True)
    known = [(w, a, b) for w, a, b in zip(weights, pulls, slopes, strict=True) if a is not None and b is not None]
    sizes = [float(a.norm() * w.detach().norm()) for w, a, _ in known]
    along = sum(float((a * w.detach()).sum()) for w, a, _ in known)
    if not known or not along > _TOWARDS_ZERO * sum(sizes) > 0:
        return None
    ratio = statistics.median(float(a.norm() / (b - a).norm().clamp(min=1e-12)) for _, a, b in known)
    with put_back(model), torch.no_grad():
        for p in model.parameters():
            p.zero_()
        rest = float(loss_of(model, batch, forward, own, own.tensors).detach())
    return ratio, (float(term.detach()) - rest) / max(abs(float(whole.detach())), 1e-12)
