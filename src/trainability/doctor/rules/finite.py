"""Where NaN and infinity come from: remedies for functions, and the finding for a batch. No rule."""

import itertools
import math
import re

from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.smaller_steps import smaller_steps

# Losses and gradient norms over the first, before one batch makes NaN; below, the step over the weight.
_HELD, _STEADY, _USUAL = 1.5, 3.0, 0.3
_FIRST = 10  # losses, where the first is not above zero
_HUGE = 1e8  # a first loss: targets and inputs of a usual size do not cause it
_STEEP = ("sqrt", "std")  # at 0, where each has a value
# What keeps a function finite, by its name; "mean" is a mean over nothing selected.
_KEPT_FINITE = {
    "sqrt": "add 1e-8 under the square root, whose slope at 0 is infinite",
    "log": "log(x.clamp(min=1e-8)) in place of log(x)",
    "div": "add 1e-8 to the denominator",
    "reciprocal": "add 1e-8 to the denominator",
    "rsqrt": "add 1e-8 under the square root",
    "pow": "x.clamp(min=1e-8) before the power",
    "exp": "exp(x.clamp(max=50)) in place of exp(x)",
    "std": "add 1e-8 to the variance, and take its root: at equal values the standard deviation has no slope",
    "var": "unbiased=False: the variance of one value is 0 / 0",
    "mean": "leave out the mean where nothing is selected: if mask.any()",
    "nll_loss_forward": "skip batches without a target: all of these are ignore_index",
    "nll_loss2d_forward": "skip batches without a target: all of these are ignore_index",
    "softmax": "leave every query at least one key unmasked: softmax over only -inf is NaN",
    "log_softmax": "leave every row at least one class unmasked: log_softmax over only -inf is NaN",
}


def of_zeros(evidence: Evidence) -> str | None:
    """The cause, where a function is given a tensor of the batch and is not finite at its zeros."""
    found = evidence.rehearsal.nonfinite if evidence.rehearsal is not None else None
    if found is None or found.given is None:
        return None
    how = "the program divides by it" if found.function == "div" else f"{found.function}() of it is infinite there"
    return f"tensor {found.given} of a batch is 0 for some example, and {how}"


def kept_finite(evidence: Evidence, *, by_itself: bool = False) -> str | None:
    """What to change at the function found; None if none was, or if only steps that are too large lead there.

    Args:
        evidence: with the rehearsal.
        by_itself: the loss or its gradient was not finite without a large step before it.
    """
    found = evidence.rehearsal.nonfinite if evidence.rehearsal is not None else None
    if found is not None and found.given is not None:
        kept: str | None = (
            f"look where the zeros in tensor {found.given} come from (rounding, a missing value), leave out these examples, or "
            "use .clamp(min=...) with the smallest value that can be true"
        )
    else:
        kept = _KEPT_FINITE.get(re.sub(r"(2|10|1p)$", "", found.function)) if found is not None else None
    if found is None or kept is None or not (by_itself or found.step == 1 or found.given is not None):
        return None
    return kept + (f" ({found.place})" if found.place else "")


def breaks_by_itself(evidence: Evidence) -> bool:
    """Whether loss or gradient is NaN after losses and gradients that did not grow, so that no step was too large.

    A slope is infinite there, like that of a square root at 0; or the loss of one batch is undefined, like softmax over only
    -inf. Read off the run, or off the rehearsal if no run was watched. Where a function was found whose slope is infinite at a
    number that it was given, no step size matters.
    """
    found = evidence.rehearsal.nonfinite if evidence.rehearsal is not None and not evidence.steps else None
    if found is not None and (found.given is not None or (found.backward and found.function in _STEEP)):
        return True
    seen = evidence.steps or (evidence.rehearsal.steps if evidence.rehearsal is not None else ())
    known = [(s.loss, s.gradient_norm) for s in seen if s.loss is not None and s.gradient_norm is not None]
    before = list(itertools.takewhile(lambda pair: all(map(math.isfinite, pair)), known))
    if len(before) < 2 or len(before) == len(known) or any(getattr(s, "skipped", False) for s in seen):
        return False
    loss, norm = known[len(before)]
    if not math.isfinite(loss):
        return _is_of_one_batch(evidence, before)
    held = before[-1][1] <= before[0][1] and max(loss, before[-1][0]) <= before[0][0]
    return math.isfinite(loss) and math.isnan(norm) and held


def _is_of_one_batch(evidence: Evidence, before: list[tuple[float, float]]) -> bool:
    """Whether a loss that is not finite follows steps of a usual size, in a number format with a far larger range."""
    losses, norms = zip(*before, strict=True)
    ratios = [layer.update_ratio for sample in evidence.samples for layer in sample.layers if layer.update_ratio is not None]
    moved = max(filter(math.isfinite, ratios), default=0.0)
    is_wide = evidence.facts is None or evidence.facts.low_precision is None
    first = losses[0] if losses[0] > 0 else max(map(abs, losses[:_FIRST]))  # a policy's loss has either sign
    return is_wide and max(map(abs, losses)) <= _HELD * first and max(norms) <= _STEADY * norms[0] and moved < _USUAL


def made_finite(evidence: Evidence, by_itself: bool) -> str:
    """What to change: at the function found, otherwise the steps, unless they are not the cause."""
    if (kept := kept_finite(evidence, by_itself=by_itself)) is not None:
        return kept
    if by_itself and _starts_huge(evidence):
        return "layer.reset_parameters() for every layer, PyTorch's default initialisation: the first outputs overflow the loss"
    if by_itself:
        return "look at the scale of the inputs and at log, sqrt, division and empty selections in the loss"
    return "start again, and " + smaller_steps(evidence)


def _starts_huge(evidence: Evidence) -> bool:
    """Whether the first loss is finite but far too large, and no input is the cause, which leaves the weights."""
    facts, rehearsal = evidence.facts, evidence.rehearsal
    looks = rehearsal.reference if rehearsal is not None else ()
    firsts = [evidence.steps[0].loss] if evidence.steps else [looks[0].loss] if looks else []
    if facts is None or facts.loud_column is not None or not (facts.input_std or 1.0) < 10:
        return False
    return any(_HUGE < abs(loss) < math.inf for loss in firsts)


def nonfinite_batch(evidence: Evidence) -> list[Finding]:
    """A tensor of the first batch that holds NaN or infinity, if the loss does too: a mask may hold -inf."""
    facts = evidence.facts
    if facts is None or not facts.nonfinite_inputs or facts.loss is None or math.isfinite(facts.loss):
        return []
    place = facts.nonfinite_inputs[0]
    return [
        Finding(
            rule="not_finite_data",
            code="not_finite_data.batch",
            severity="error",
            seen=f"tensor {place} of the first batch holds NaN or infinity, and so does the loss",
            measurements=(
                Measurement(name="tensors with NaN or infinity", value=float(len(facts.nonfinite_inputs)), threshold=0.0),
            ),
            cause="a division by zero where the data is made, or a damaged file",
            remedy=f"add 1e-8 to the denominator, or clamp(min=1) it, where tensor {place} of the batch is made",
            source="own; IEEE 754 arithmetic",
        )
    ]
