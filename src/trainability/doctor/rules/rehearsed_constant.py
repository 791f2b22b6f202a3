"""A rehearsal whose loss came down to that of the best constant answer. No rule."""

import statistics

from trainability.doctor.best_constant import best_constant
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Severity
from trainability.doctor.outlook_limits import LATE_STEPS, NO_BETTER
from trainability.doctor.rehearsed import Rehearsal

_FEWEST_SEARCHED, _NEAR_SEARCHED = 50, 1.1  # steps, and the loss over the constant's, where that was searched for

Found = tuple[str, Severity, str, float, float]
"""Code, severity, name of the constant, loss, and what the constant costs."""


def rehearsal_at_constant(evidence: Evidence) -> Found | None:
    """On the reference batch, whose own best constant is known exactly."""
    rehearsal = evidence.rehearsal
    if rehearsal is None or len(rehearsal.steps) < 20 or len(rehearsal.reference) < 4:
        return None
    if rehearsal.task.chance is None:
        return _rehearsal_at_searched(rehearsal)
    cost, losses = rehearsal.task.chance, [seen.loss for seen in rehearsal.reference]
    constant = best_constant(evidence)
    if constant is None or cost is None or not cost > 0 or losses[0] < 1.1 * cost:
        return None
    if any(not abs(loss / cost - 1) < 0.02 for loss in losses[-3:]):
        return None
    code = "regression" if rehearsal.task.kind == "regression" else "frequencies"
    return code, "hint", constant[1], losses[-1], cost


def _rehearsal_at_searched(rehearsal: Rehearsal) -> Found | None:
    """For an unknown loss, by the last steps: the constant was searched for on batches of their size.

    If outputs begin to differ more between examples than at the start, as when a code comes into use, a loss at the constant's
    cost is only a stage.
    """
    cost, late = rehearsal.constant_loss, [step.loss for step in rehearsal.steps[-LATE_STEPS:] if step.loss is not None]
    if cost is None or rehearsal.opposed or len(rehearsal.steps) < _FEWEST_SEARCHED or not late:
        return None
    loss = statistics.fmean(late)
    if not NO_BETTER * cost < loss < _NEAR_SEARCHED * cost or rehearsal.reference[0].loss < _NEAR_SEARCHED * cost:
        return None
    first, last = rehearsal.reference[0].output_spread, rehearsal.reference[-1].output_spread
    if first is None or last is None or last >= first:
        return None
    return "rehearsed", "hint", "one answer for every example", loss, cost
