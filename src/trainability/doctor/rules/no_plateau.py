"""Why no length of a plateau is predicted for a program. No rule."""

from trainability.doctor import reading
from trainability.doctor.evidence import ProbeResult
from trainability.doctor.theory.band import BUDGET_HIGH

_NOT_PLAIN = {
    "normalised": "has normalisation layers",
    "residual": "has skip connections",
    "branched": "has branches that meet again",
    "unknown": "could not be followed",
}


def why_no_plateau(probe: ProbeResult) -> str:
    """The first condition of the closed form that does not hold."""
    if probe.optimizer is None:
        return "predicted only if the optimizer is given (optimizer=)"
    if probe.optimizer.name != "SGD":
        return f"predicted for SGD; this is {probe.optimizer.name}"
    if probe.structure in _NOT_PLAIN:
        return f"predicted for plain ReLU nets; this one {_NOT_PLAIN[probe.structure]}"
    if probe.biased:
        return "predicted with biases that start at zero; here they carry a signal"
    total = reading.total_budget(probe)
    if total is not None and total > BUDGET_HIGH:
        return f"predicted for gain budgets up to {BUDGET_HIGH:g}; this one is {total:+.1f}"
    return "predicted for ReLU nets of linear and convolutional layers"
