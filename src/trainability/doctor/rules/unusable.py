"""Numbers of the optimizer with which no step can be made."""

import math

from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rate_choice import settings_of
from trainability.doctor.rules.rule import rule


@rule(
    severities=("error",),
    verdict="unstable",
    explains=(
        *("exploding_gradient", "not_finite", "oscillation", "loss_cliff", "clipping", "update_ratio", "dead_units", "plateau"),
        *("rate_dies", "weights_decayed", "long_momentum", "prediction_collapse", "constant_as_good", "vanishing_gradient"),
        *("untrained_parameter", "unmoved_parameter", "wrong_sign"),
    ),
)
def unusable_setting(evidence: Evidence) -> list[Finding]:
    """A number of the optimizer is NaN or infinite, or its learning rate is negative.

    Fires: learning rate, momentum, weight decay, eps or one of the betas of any parameter group is NaN or infinite, or a
        learning rate is below 0: now, or at a watched step. `check`, `confirm`, `plan`, `map` and `run --check` do not begin
        with such an optimizer, and say so.
    Why: the first step with such a number makes every weight NaN, or goes uphill. The optimizers of PyTorch refuse most of
        them, but not NaN in `SGD`, and not what is written into `param_groups` later.
    What fools it: a program that goes uphill on purpose by a negative rate instead of `maximize=True`.
    Fix: what sets the number: a schedule that divides by zero, a logarithm of zero, a setting that was read as "nan".
    Source: IEEE 754 arithmetic; PyTorch, `torch.optim`.
    """
    settings = settings_of(evidence)
    found = settings.unusable if settings is not None else None
    step = next((s for s in evidence.steps if s.lr is not None and not (math.isfinite(s.lr) and s.lr >= 0)), None)
    if found is None and step is None:
        return []
    rate = step.lr if step is not None and step.lr is not None else math.nan
    said = found or f"learning rate is {rate:g} at step {step.step if step is not None else 0}"
    of_optimizer = settings.name if settings is not None else "optimizer"
    return [
        Finding(
            rule="unusable_setting",
            severity="error",
            seen=f"the optimizer's {said}",
            measurements=(Measurement(name="the number", value=float(said.split(" is ")[1].split()[0]), threshold=0.0),),
            cause="no step can be made with it: it must be finite and at least 0",
            remedy=f"a finite number in {of_optimizer}(...), and in whatever writes it into param_groups, such as a schedule",
            source="IEEE 754 arithmetic",
        )
    ]
