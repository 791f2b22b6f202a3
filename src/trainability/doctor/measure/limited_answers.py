"""Answers that the last function limits to a range of its own, as `clamp` and `Hardtanh` do, beside their targets."""

from __future__ import annotations

import math

from trainability.doctor.measure.beyond_range import cut, share
from trainability.doctor.measure.forward_pass import ForwardPass
from trainability.doctor.measure.graph import behind_views
from trainability.doctor.measure.nodes import call_of


def limited_answers(seen: ForwardPass) -> tuple[float, float, float, float] | None:
    """Compare the range that outputs are limited to with the targets.

    Args:
        seen: a pass whose loss is of the difference of output and target.

    Returns:
        The least and the largest output, infinite where there is none; the share of the targets beyond them, and what clipping
        the targets costs of their variance. None of outputs that nothing limits.
    """
    if seen.against is None or seen.against[0].grad_fn is None:
        return None
    output, target = seen.against
    node = behind_views(output.grad_fn)
    names = {"Clamp": ("min", "max"), "Hardtanh": ("min_val", "max_val")}.get(call_of(node))
    if names is None:
        return None
    low, high = (getattr(node, f"_saved_{name}", None) for name in names)
    low, high = -math.inf if low is None else float(low), math.inf if high is None else float(high)
    return low, high, float(share(target, low, high)), float(cut(target, low, high))
