"""A drawn code whose noise is scaled by another number than the divergence takes for its standard deviation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.measure.code_draws import CodeDraws
from trainability.doctor.measure.nodes import name_of
from trainability.doctor.measure.randomness import randomness_restored, seed_torch
from trainability.doctor.readings import CodeSpread

_FEWEST = 16  # numbers of a code
_NEAR = 1e-2  # of a slope
_OFF = 0.1  # of a deviation, or of how fast it grows
_OF_LAYERS = frozenset(
    f"{name}Backward" for name in ("Addmm", "Mm", "Linear", "Convolution", "Split", "SplitWithSizes", "Slice")
)

# What an encoder's output may be to a divergence, and the deviation that it then stands for.
_FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "log variance": lambda x: (0.5 * x).exp(),
    "log deviation": torch.exp,
    "variance": lambda x: x.clamp_min(0).sqrt(),
    "deviation": torch.abs,
}


def code_spread(model: nn.Module, batch: Any, forward: Callable[[Any, Any], Tensor]) -> CodeSpread | None:
    """Compare the deviation by which a code is drawn with the one in the loss's divergence from the standard normal.

    The draw is cut off from what it was drawn by: the gradient that is left at the mean and at the encoder's other output is
    that of the divergence, w * (deviation ** 2 / 2 - log(deviation) + mean ** 2 / 2), number by number. The mean tells w, and
    w which function of the other output its deviation is.

    Args:
        model: runs as it is; the caller puts modes, buffers and random state back.
        batch: of examples along the first dimension.
        forward: of (model, batch), the loss.

    Returns:
        None where both are the same number, where no such divergence is in the loss, and of more than one drawn code.
    """
    draws = CodeDraws()
    with torch.enable_grad(), randomness_restored(), draws:
        seed_torch(0)
        loss = forward(model, batch)
    if len(draws.found) != 1 or not loss.requires_grad:
        return None
    mean, deviation, _ = draws.found[0]
    chain = draws.chain(deviation)
    slopes = torch.autograd.grad(loss, [draws.source(mean), *chain], retain_graph=True, allow_unused=True)
    weight = _weight(slopes[0], mean.detach()) if slopes[0] is not None and mean.numel() >= _FEWEST else None
    if weight is None:
        return None
    if all(slope is None or float(slope.abs().max()) <= 1e-6 * weight for slope in slopes[1:]):
        is_whole = name_of(chain[-1].grad_fn) in _OF_LAYERS  # nothing else may lie between the encoder and the deviation
        return CodeSpread(taken_for="", ratio=0.0) if is_whole else None
    found: CodeSpread | None = None
    for place, (output, slope) in enumerate(zip(chain, slopes[1:], strict=True)):
        if slope is None or output.shape != deviation.shape:
            continue
        growth = torch.ones_like(output)
        if place:
            (growth,) = torch.autograd.grad(deviation.sum(), output, retain_graph=True)
        for name, form in _FORMS.items():
            told = _told(output, slope / weight, form)
            if told is None:
                continue
            if _is_same(deviation.detach(), growth, *told):
                return None
            ratio = float((deviation.detach().abs() / told[0].clamp_min(1e-12)).median())
            found = found or CodeSpread(taken_for=name, ratio=ratio)
    return found


def _weight(slope: Tensor, mean: Tensor) -> float | None:
    """The factor before the divergence, where the loss's slope at the mean is the mean times that."""
    if slope.shape != mean.shape or not bool(mean.any()):
        return None
    weight = float((slope.double() * mean.double()).sum() / mean.double().square().sum())
    off = float((slope.double() - weight * mean.double()).norm())
    return weight if weight > 0 and off <= _NEAR * weight * float(mean.double().norm()) else None


def _told(output: Tensor, slope: Tensor, form: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor] | None:
    """A deviation of that form, and how fast it grows with the output, where the divergence's slope is that of this form."""
    given = output.detach().clone().requires_grad_()
    deviation = form(given)
    (growth,) = torch.autograd.grad(deviation.sum(), given)
    deviation = deviation.detach()
    wanted = (deviation - 1 / deviation) * growth
    if not bool(wanted.isfinite().all()) or not bool(wanted.any()):
        return None
    return (deviation, growth) if float((slope - wanted).norm()) <= _NEAR * float(wanted.norm()) else None


def _is_same(deviation: Tensor, growth: Tensor, told: Tensor, told_growth: Tensor) -> bool:
    """Whether two deviations are one number, and grow alike."""
    pairs = ((deviation, told), (growth / deviation, told_growth / told))
    return all(float((a / b - 1).abs().median()) <= _OFF for a, b in pairs)
