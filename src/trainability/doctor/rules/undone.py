"""Learning rates whose first steps destroy what the initial weights could do. No rule."""

import math
import statistics

from trainability.doctor import reading
from trainability.doctor.best_constant import best_constant, comes_to_nothing
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rehearsed import Observation
from trainability.doctor.rules.smaller_steps import rate_to_set, smaller_steps, warmed_up

_DEPENDED, _NO_MORE = 0.01, 1e-3  # spread between examples over the outputs' size, before the first step and after some
_KEPT = 0.1  # of that at the start, at a smaller rate
_FEWEST_STEPS, _AS_GOOD, _LEARNED = 50, 0.95, 0.8  # of the best constant answer's loss
_LARGE_RATIO, _THROWN, _FIRST_STEPS = 0.3, 1.2, 6  # of a weight; of the first loss


def undone_by_steps(evidence: Evidence) -> Finding | None:
    """Steps after which outputs no longer depend on the input, while smaller steps keep the dependence.

    Read off the rehearsal at the program's own rate and those at smaller ones, from the same start on the same batches, and
    only where neither the rehearsal nor the run gets below the best constant answer. The dependence has to be gone for half of
    the rehearsal, or at its last two looks where a smaller rate has learned by then.
    """
    rehearsal, constant = evidence.rehearsal, best_constant(evidence)
    if rehearsal is None or constant is None or reading.is_opposed(evidence) or reading.has_learned(evidence):
        return None
    looks = rehearsal.reference
    shares = [_share(seen) for seen in looks]
    if len(looks) < 3 or looks[-1].step < _FEWEST_STEPS or None in shares or (shares[0] or 0.0) < _DEPENDED:
        return None
    ends = [each for each in rehearsal.other_rates if each.scale < 1 and each.reference]
    ends = [each for each in ends if each.reference[-1].step >= looks[-1].step]
    learned = [each.scale for each in ends if each.reference[-1].loss <= _LEARNED * constant[0]]
    first = looks[-2].step if learned else looks[-1].step / 2
    later = [(seen, share) for seen, share in zip(looks, shares, strict=True) if seen.step >= first]
    if any((share or 0.0) > _NO_MORE or seen.loss < _AS_GOOD * constant[0] for seen, share in later):
        return None
    kept = {each.scale: _share(each.reference[-1]) or 0.0 for each in ends}
    scale = max(learned or (scale for scale, share in kept.items() if share >= _KEPT * (shares[0] or 0.0)), default=None)
    if scale is None:
        return None
    last = max(share or 0.0 for _, share in later)
    when = "later steps" if learned and (shares[1] or 0.0) > _NO_MORE else "the first steps"
    return Finding(
        rule="update_ratio",
        code="update_ratio.large",
        severity="warning",
        seen=f"outputs differed between examples by {shares[0]:.2g} of their size before the first step, and by {last:.1g} "
        f"since step {later[0][0].step}; at {scale:g} times the learning rate, by {kept[scale]:.2g} after the same number of "
        "steps",
        measurements=(
            Measurement(name="spread of the outputs over their size", value=last, threshold=_NO_MORE),
            Measurement(name="the same at a smaller rate", value=kept[scale]),
        ),
        cause=f"the learning rate is too large: {when} drive all examples to one output, where there is no gradient",
        remedy=f"{rate_to_set(evidence, scale)}: the rehearsal at that rate learned"
        if learned
        else smaller_steps(evidence, 1 / scale, warmed_up(evidence)),
        source="own; rehearsed at both rates",
        explains=("vanishing_gradient",),
    )


def thrown_at_first(evidence: Evidence) -> Finding | None:
    """A run whose first step moved the typical layer by a third of its size and raised the loss, and that came to nothing."""
    first = evidence.samples[0] if evidence.samples and evidence.samples[0].step == 1 else None
    ratios = [s.update_ratio for s in first.layers if reading.is_matrix(s) and s.update_ratio] if first is not None else []
    losses = [step.loss for step in evidence.steps[:_FIRST_STEPS]]
    if len(ratios) < 2 or len(losses) < 2 or not reading.started_at_zero(evidence) or reading.is_searched(evidence):
        return None
    middle, rise = statistics.median(ratios), max(losses[1:]) / losses[0] if losses[0] > 0 else 0.0
    if not _LARGE_RATIO < middle < math.inf or rise < _THROWN or not comes_to_nothing(evidence):
        return None
    return Finding(
        rule="update_ratio",
        code="update_ratio.large",
        severity="warning",
        seen=f"the first step changed the typical layer by {middle:.2g} of its size, the loss rose from {losses[0]:.3g} to "
        f"{max(losses[1:]):.3g} in {len(losses) - 1} steps, and since then the run has been no better than a constant answer",
        measurements=(
            Measurement(name="first update over weight", value=middle, threshold=_LARGE_RATIO),
            Measurement(name="loss after the first steps over the first", value=rise, threshold=_THROWN),
        ),
        cause="the learning rate is too large: the first steps replace the initial weights",
        remedy=smaller_steps(evidence, 100 * middle, warmed_up(evidence)),
        source="own; healthy updates are about 1e-3 of the weight (TheDeepChecker, TOSEM 2022)",
        explains=("vanishing_gradient",),
    )


def _share(seen: Observation) -> float | None:
    return seen.output_spread / seen.output_rms if seen.output_spread is not None and seen.output_rms else None
