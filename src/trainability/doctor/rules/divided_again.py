"""Gradients that are divided once more: by a step's number of passes, or by a mean's number of terms. No rule."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement

_FALLEN = 0.9  # of the first loss of a rehearsal


def divided_again(evidence: Evidence) -> list[Finding]:
    """A mean that is taken twice: steps are as many times too small, unless the optimizer divides by the gradient's size."""
    facts, rehearsal = reading.facts(evidence), evidence.rehearsal
    passes, terms = facts.divided_again, facts.mean_again
    if rehearsal is not None:
        passes, terms = passes or rehearsal.divided_again, terms or rehearsal.mean_again
    return [_over_passes(evidence, passes)] if passes else [_over_terms(evidence, terms)] if terms else []


def _over_passes(evidence: Evidence, number: int) -> Finding:
    return Finding(
        rule="loss_divided",
        code="loss_divided.again",
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


def _over_terms(evidence: Evidence, number: int) -> Finding:
    # Whoever does it on purpose has a rate as many times larger.
    looks = evidence.rehearsal.reference if evidence.rehearsal is not None and not evidence.steps else ()
    hardly_falls = len(looks) > 1 and looks[-1].loss > _FALLEN * looks[0].loss
    stays = reading.stays_above_half(evidence) or hardly_falls or (bool(evidence.steps) and not reading.has_learned(evidence))
    return Finding(
        rule="loss_divided",
        code="loss_divided.mean",
        severity="warning" if stays and not reading.is_adaptive(evidence) else "hint",
        seen=f"the loss is a mean already, and is divided by {number}, the number of its terms or of the examples, once more",
        measurements=(Measurement(name="second divisor of the loss", value=float(number), threshold=1.0),),
        cause=f"the mean is taken twice: steps are {number} times smaller than their learning rate says",
        remedy='leave out the division, or use reduction="sum" in the loss',
        source="own; read from the graph of the loss",
    )
