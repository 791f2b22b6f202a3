"""The critical step: how far the loss keeps falling along the optimizer's update.

Along the update u that takes the parameters from w to w + u, the critical multiple is the smallest c at which the loss on the
batch is higher at w + c u than at w. Near 1 and below, the step is too long; at 1e5, it is a hundred thousand times shorter
than possible. On a quadratic of curvature h, for plain gradient descent, it is 2 / (lr h), so training is stable above 1.

Source: arXiv 2601.16979, "critical sharpness".
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from trainability.doctor.measure.randomness import randomness_restored, set_random_state
from trainability.doctor.measure.statistics import local, rms, spread, unmoved_fraction
from trainability.doctor.rehearsed import CriticalStep

SMALLEST = 1e-7
LARGEST = 1e7
# Each factor is about the square of the one before: few passes reach far, and a bracket is bisected in its logarithm.
_UPWARDS = (8.0, 512.0, 1e5, LARGEST)
_DOWNWARDS = (1 / 8, 1 / 512, 1e-5, SMALLEST)
_WIDEST_BRACKET = 2.0
# A mean over a batch is rounded a few times; less than this many units in the last place is no rise and no fall.
_ROUNDING = 4.0


def loss_resolution(loss: float, dtype: torch.dtype) -> float:
    """Smallest change of a loss that is more than rounding, for a loss of that size in that number format."""
    return _ROUNDING * torch.finfo(dtype).eps * abs(loss)


def critical_multiple(
    loss_at: Callable[[float], float], *, loss: float, first: float, resolution: float, max_evaluations: int = 6
) -> tuple[float, bool]:
    """Search for the smallest multiple at which a loss rises.

    Between 0 and the first rise, the loss is taken to fall and then to rise, once.

    Args:
        loss_at: the loss at a multiple of the update; infinite or NaN counts as higher.
        loss: the loss at 0; finite.
        first: the loss at 1.
        resolution: by how much a loss has to be higher to count as such.
        max_evaluations: calls of `loss_at`, beyond the two values that are given.

    Returns:
        The multiple, within a factor of 2; whether it is the limit of the search.
    """

    def rises(value: float) -> bool:
        return not value <= loss + resolution  # NaN rises

    up = not rises(first)
    low, low_loss, high, high_loss = (1.0, first, math.inf, math.inf) if up else (0.0, loss, 1.0, first)
    calls = 0
    for multiple in _UPWARDS if up else _DOWNWARDS:
        value = loss_at(multiple)
        calls += 1
        if rises(value):
            high, high_loss = multiple, value
        else:
            low, low_loss = multiple, value
        if rises(value) == up:
            break
    else:
        return (LARGEST if up else SMALLEST), True
    while high / low > _WIDEST_BRACKET and calls < max_evaluations:
        middle = _parabola(low, low_loss - loss, high, high_loss - loss) if high / low < 16 else None
        # A parabola that passes near an end of the bracket says on which side of it the rise is.
        middle = min(max(middle or math.sqrt(low * high), low * 1.2), high / 1.2)
        value = loss_at(middle)
        calls += 1
        if rises(value):
            high, high_loss = middle, value
        else:
            low, low_loss = middle, value
    root = _parabola(low, low_loss - loss, high, high_loss - loss) or math.sqrt(low * high)
    return min(max(root, low), high), False


def _parabola(low: float, fall: float, high: float, rise: float) -> float | None:
    """Where the parabola through (0, 0), (low, fall) and (high, rise) is zero again; None without one."""
    if not (math.isfinite(rise) and rise > 0 and low > 0):
        return None
    fall = min(fall, 0.0)  # a rise within rounding
    curvature = (rise / high - fall / low) / (high - low)
    slope = fall / low - curvature * low
    return -slope / curvature if curvature > 0 and slope < 0 else None


def along_update(
    parameters: Mapping[str, Tensor],
    before: Sequence[Tensor],
    loss: Callable[[], Tensor],
    *,
    max_evaluations: int = 6,
) -> CriticalStep:
    """Measure the critical multiple of the update that parameters have just made.

    Every forward pass starts from the same random state, so that dropout drops the same units. Parameters and random state are
    restored; the caller restores buffers that a forward pass changes.

    Args:
        parameters: by name, after the update; on a copy, since they are written to.
        before: their values before it, in the same order.
        loss: the loss on the batch that the update came from, one number.
        max_evaluations: forward passes of the search, beyond those before and after the update.

    Returns:
        The measurement.
    """
    moved = []
    for p, old in zip(parameters.values(), before, strict=True):
        wide = torch.promote_types(p.dtype, torch.float32)  # bfloat16 would round a small multiple to nothing
        moved.append((p, p.detach().clone(), old, p.detach().to(wide) - old.to(wide)))
    norm = math.hypot(*(float(torch.linalg.vector_norm(update)) for *_, update in moved))
    seen: list[float] = []
    dtype = torch.float32
    with randomness_restored() as state:

        def loss_at(multiple: float) -> float:
            nonlocal dtype
            set_random_state(state)
            with torch.no_grad():
                for p, new, old, update in moved:
                    p.copy_({0.0: old, 1.0: new}.get(multiple, old.to(update.dtype) + multiple * update))
            try:
                value = loss()
            except Exception:
                if multiple in (0.0, 1.0):
                    raise
                value = torch.tensor(math.inf, dtype=dtype)  # weights that no step leads to may be out of the loss's range
            dtype = value.dtype
            seen.append(float(value.detach()))
            return seen[-1]

        try:
            start, first = loss_at(0.0), loss_at(1.0)
            resolution = loss_resolution(start, dtype)
            multiple, at_limit = None, False
            if math.isfinite(start) and math.isfinite(norm) and norm > 0:
                multiple, at_limit = critical_multiple(
                    loss_at, loss=start, first=first, resolution=resolution, max_evaluations=max_evaluations
                )
        finally:
            with torch.no_grad():
                for p, new, *_ in moved:
                    p.copy_(new)
    return CriticalStep(
        multiple=multiple,
        at_limit=at_limit,
        loss_before=start,
        loss_after=first,
        lowest_loss=min((value for value in seen if math.isfinite(value)), default=start),
        resolution=resolution,
        update_norm=norm,
        update_ratios=tuple(
            (name, _ratio(old, update))
            for (name, p), (_, _, old, update) in zip(parameters.items(), moved, strict=True)
            if p.dim() > 1
        ),
        sizes=tuple(
            (name, float(rms(local(old).float())), p.numel() // len(p))
            for (name, p), (_, _, old, _) in zip(parameters.items(), moved, strict=True)
            if p.dim() > 1 and len(p) > 0
        ),
        unmoved_fraction=_unmoved([(p, new, old) for p, new, old, _ in moved]),
        num_evaluations=len(seen),
    )


def _ratio(weight: Tensor, update: Tensor) -> float | None:
    size = float(torch.linalg.vector_norm(weight))
    return float(torch.linalg.vector_norm(update)) / size if size > 0 else None


def _unmoved(moved: Sequence[tuple[Tensor, Tensor, Tensor]]) -> float | None:
    """Median over the weights of narrow formats, by the gradients that are there; None where the loop cleared them."""
    narrow = [(p, new, old) for p, new, old in moved if p.dim() > 1 and p.is_floating_point() and p.dtype.itemsize < 4]
    found = [(None if p.grad is None else spread(p.grad), new, old) for p, new, old in narrow]
    shares = [
        float(unmoved_fraction(local(old), local(new), gradient))
        for gradient, new, old in found
        if gradient is not None and bool(gradient.any())
    ]
    return statistics.median(shares) if shares else None
