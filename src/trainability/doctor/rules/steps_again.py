"""Steps of the optimizer, and optimizers"""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.rules.rule import rule

_FEWEST_REMADE = 5


@rule(
    severities=("error", "warning"),
    verdict="unstable",
    explains=("not_finite", "exploding_gradient", "oscillation", "loss_cliff", "update_ratio", "plateau"),
)
def repeated_step(evidence: Evidence) -> list[Finding]:
    """The optimizer steps again on gradients on which it has stepped already.

    Fires: three steps or more (one beside a loss scaler), and a quarter of the first 64, find the same gradients as the step
        before, object for object, and none of them was written since: no backward pass, `zero_grad`, clipping or loss scaler
        was between them. A step that `GradScaler.step` left out because a gradient is not finite counts as one that was made,
        in a check and in `trainability run`.
    Why: each update is made twice, with twice the momentum. Beside a loss scaler, the second one is also made where a gradient
        has overflowed: one such step makes every weight NaN, which the scaler is there to prevent.
    What fools it: an optimizer that writes into the gradients as it steps; one that is meant to step twice. A step inside of
        another of the same optimizer is none, and gradients that are written through `.data` are compared by value.
    Fix: one step for each backward pass: scaler.step(optimizer) or optimizer.step(), not both.
    Source: PyTorch, torch.amp.GradScaler; own, gradients compared.
    """
    rehearsal = evidence.rehearsal
    found = reading.facts(evidence).repeated_steps or (rehearsal.repeated_steps if rehearsal is not None else None)
    if found is None:
        return []
    repeated, steps, by_scaler = found
    return [
        Finding(
            rule="repeated_step",
            severity="error" if by_scaler else "warning",
            seen=f"{repeated} of the first {steps} steps were made on the gradients of the step before, which nothing had "
            "written since",
            measurements=(
                Measurement(name="steps without a backward pass", value=float(repeated), threshold=0.0 if by_scaler else 2.0),
                Measurement(name="steps", value=float(steps)),
            ),
            cause="scaler.step(optimizer) makes the step, or leaves it out where a gradient has overflowed, and "
            "optimizer.step() makes it again"
            if by_scaler
            else "optimizer.step() is called twice for each backward pass",
            remedy="remove optimizer.step() beside scaler.step(optimizer)" if by_scaler else "remove one of the two calls",
            source="own; gradients compared",
        )
    ]


@rule(severities=("warning", "hint"))
def remade_optimizer(evidence: Evidence) -> list[Finding]:
    """The optimizer is made anew again and again for the same parameters.

    Fires: in a watched script, five optimizers or more are made for the very same parameters; in a check, the loop's body
        makes as many, each for one step, and no other steps on these. A hint where they keep nothing from step to step, as SGD
        without momentum.
    Why: a new optimizer has no momentum and no averages of squared gradients. Adam's first step has the size of the learning
        rate in every coordinate, whatever the gradient is, and a schedule that belongs to the old optimizer changes nothing.
    What fools it: an inner loop that begins anew on purpose, as in meta-learning; restarts. The third and later ones of a
        script are not watched. In a check, a step by a closure, one that is taken back, and an optimizer that is given
        another's state do not count.
    Fix: create the optimizer once, before the loop.
    Source: Kingma and Ba, Adam, ICLR 2015, section 3; own, optimizers counted.
    """
    rehearsal = evidence.rehearsal
    found = reading.facts(evidence).remade or (rehearsal.remade if rehearsal is not None else None)
    if found is None or found[0] < _FEWEST_REMADE:
        return []
    count, keeps_state = found
    return [
        Finding(
            rule="remade_optimizer",
            severity="warning" if keeps_state else "hint",
            seen=f"{count:,} optimizers were made for the same parameters",
            measurements=(
                Measurement(name="optimizers of these parameters", value=float(count), threshold=float(_FEWEST_REMADE)),
            ),
            cause="the optimizer is created inside the loop: "
            + (
                "its momentum and averages begin at zero each time" if keeps_state else "a schedule would not reach the new one"
            ),
            remedy="create it once, before the loop",
            source="own; counted",
        )
    ]
