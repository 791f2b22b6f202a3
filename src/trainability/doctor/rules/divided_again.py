"""Gradients of several passes that are divided by their number twice. No rule."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement


def divided_again(evidence: Evidence) -> list[Finding]:
    """A mean over the passes of a step that is taken twice: steps are as many times too small."""
    number = reading.facts(evidence).divided_again
    if number is None and evidence.rehearsal is not None:
        number = evidence.rehearsal.divided_again
    if number is None:
        return []
    return [
        Finding(
            rule="loss_divided",
            code="loss_divided.again",
            # An optimizer that divides by the gradient's own size does not mind.
            severity="hint" if reading.is_adaptive(evidence) else "warning",
            seen=f"each step adds up the gradients of {number} backward passes, and divides them by {number} twice: the losses "
            "before backward, and the losses or the gradients once more",
            measurements=(
                Measurement(name="divisor of the gradients", value=float(number**2), threshold=float(number)),
                Measurement(name="backward passes in a step", value=float(number)),
            ),
            cause=f"the mean over the passes is taken twice: steps are {number} times smaller than their learning rate says",
            remedy=f"divide once: (loss / {number}).backward(), and leave the gradients as they are",
            source="own; read from the graphs of the losses and from the gradients",
        )
    ]
