"""A schedule whose largest learning rate comes after the rehearsal, and is far too large. No rule."""

from trainability.doctor.evidence import Evidence, OptimizerSettings
from trainability.doctor.experimented import written
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.peaks import end_of, is_lost, learns, level_of
from trainability.doctor.rate_choice import settings_of

# What sets the largest rate: an argument of the scheduler, or a function that it multiplies the optimizer's rate with.
_OWN = {"OneCycleLR": "max_lr", "CyclicLR": "max_lr"}
_FACTORS = {"LambdaLR": "lr_lambda", "MultiplicativeLR": "lr_lambda"}


def late_peak(evidence: Evidence) -> Finding | None:
    """The peak of a schedule, of which half is too much for the net, and a tenth or a hundredth is not."""
    rehearsal = evidence.rehearsal if not evidence.steps else None
    peak, level = (rehearsal.late_peak, level_of(rehearsal)) if rehearsal is not None else (None, None)
    if rehearsal is None or peak is None or level is None or len(peak.trials) < 2:
        return None
    (lost, *_), last = peak.trials, peak.trials[-1]
    if not is_lost(rehearsal, lost) or not learns(rehearsal, last):
        return None
    steps, rate = lost.reference[-1].step, peak.rate * last.scale
    return Finding(
        rule="update_ratio",
        code="update_ratio.peak",
        severity="warning",
        seen=f"{peak.schedule} raises the learning rate to {peak.rate:.2g} at step {peak.step:,}; where the schedule is "
        f"rehearsed in {steps} steps, the loss on a fixed batch ends at {written(end_of(lost))} with a peak of "
        f"{peak.rate * lost.scale:.2g}, and at {written(end_of(last))} with one of {rate:.2g} (the best constant answer costs "
        f"{written(level)})",
        measurements=(
            Measurement(name="largest learning rate of the schedule", value=peak.rate, threshold=peak.rate * lost.scale),
            Measurement(name="loss with half of that", value=end_of(lost), threshold=level),
            Measurement(name=f"loss with {last.scale:g} of that", value=end_of(last), threshold=level),
        ),
        cause="the largest learning rate of the schedule is far too large: steps at it undo what was learned before",
        remedy=f"lower the peak of the schedule: {at_peak(settings_of(evidence), peak.schedule, last.scale, peak.rate)}",
        source="own; rehearsed with smaller peaks",
    )


def at_peak(settings: OptimizerSettings | None, schedule: str, scale: float, peak: float) -> str:
    """Name the argument that sets a schedule's largest rate, and its new value, as code.

    Args:
        settings: of the optimizer, if they are known.
        schedule: class of the scheduler.
        scale: of the new peak over the old one.
        peak: the largest rate of the schedule.
    """
    if schedule in _OWN:
        return f"{schedule}(..., {_OWN[schedule]}={scale * peak:.1g}) in place of {peak:.3g}"
    factors = f" what {_FACTORS[schedule]} returns" if schedule in _FACTORS else ""
    if settings is None or not settings.base_lr:
        return f"{schedule} up to {scale * peak:.1g} in place of {peak:.3g}{', by' + factors if factors else ''}"
    said = f"{settings.name}(..., lr={scale * settings.base_lr:.1g}) in place of {settings.base_lr:.3g}"
    return f"{said}, which {schedule} multiplies{' with' + factors if factors else ''}, up to {peak:.2g}"
