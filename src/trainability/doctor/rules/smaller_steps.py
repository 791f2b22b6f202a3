"""Remedies for steps that are too large or too small, in the words of the loop's own optimizer. No rule of its own."""

import math
import statistics

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.reading import WINDOW_STEPS

USUAL_RATIO, LARGEST_RATIO = 1e-3, 1e-2  # update over weight: usual in nets that learn, and the most that is proposed
MOST_AT_ONCE = 100.0
"""Largest factor by which a learning rate is proposed to be raised at once: beyond it nothing is known of the loss."""


def larger_rate(factor: float) -> str:
    """Propose a higher learning rate: by the factor that is needed, or by `MOST_AT_ONCE` where that is more."""
    if factor <= MOST_AT_ONCE:
        return f"multiply the learning rate by {factor:.0f}"
    return f"multiply the learning rate by {MOST_AT_ONCE:.0f} and look again; it may take {factor:,.0f} times today's in all"


def smaller_steps(evidence: Evidence, divisor: float = 10.0) -> str:
    """Propose a lower learning rate for the loop's optimizer; a clip beside it where that changes a step.

    Adam and its kin divide by the gradient's own size, so that clipping changes nothing for them.
    """
    settings = evidence.optimizer or (evidence.probe.optimizer if evidence.probe is not None else None)
    if settings is None:
        return f"divide the learning rate by {divisor:g}"
    rate = f"lower the learning rate: {settings.name}(..., lr={settings.lr / divisor:.1g})"
    if reading.is_adaptive(evidence) or settings.clip is not None:
        return rate
    norms = [s.gradient_norm for s in evidence.steps if s.gradient_norm is not None and math.isfinite(s.gradient_norm)]
    usual = statistics.median(norms) if len(norms) >= WINDOW_STEPS else 0.0
    limit = f"{usual:.2g}, this run's median" if usual > 0 else "1"
    return rate + f"; or torch.nn.utils.clip_grad_norm_ at {limit}, between backward and step"


def larger_steps(evidence: Evidence, ratio: float) -> str:
    """Propose a higher learning rate, by the update over weight that was measured.

    About 1e-3 is usual. A run of a few hundred steps needs more: the sum of its steps must reach the size of a weight, here
    three times it, up to a ratio of 1e-2.
    """
    settings = evidence.optimizer or (evidence.probe.optimizer if evidence.probe is not None else None)
    planned = (settings.planned_steps if settings is not None else None) or reading.num_steps(evidence)
    wanted = min(max(USUAL_RATIO, 3 / planned), LARGEST_RATIO) if planned else USUAL_RATIO
    return larger_rate(wanted / ratio)
