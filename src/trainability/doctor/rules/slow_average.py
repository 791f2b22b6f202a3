"""An average of the weights whose decay is too slow for the run."""

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement, Severity
from trainability.doctor.rehearsed import SlowAverage
from trainability.doctor.rules.rule import rule

_LEFT, _MOSTLY = 0.3, 0.5  # of the start at the end of the run: of an average to evaluate with, and of one in the loss
_SLOW = 1e-3  # share of the way that an average in the loss goes at a step: usual ones go farther
_FEWEST_STEPS = 100  # of a run
_MOST_PASSES, _MANY_STEPS = 50, 2000  # over the loader, and steps, that an average covers, where the run's length is not known


@rule(severities=("warning", "hint"))
def slow_average(evidence: Evidence) -> list[Finding]:
    """An average of the weights still holds much of its random start at the end of the run.

    Fires: the loop moves weights that no optimizer holds, a copy of trained ones that began as random numbers, by the same
        share r of the way to the trained ones at each step, and (1 - r) ** steps, what is left of the start when the run of 100
        steps or more is over, is 0.3 or more. A hint where the loss depends on the copy, as on a target network or a teacher,
        0.5 or more is left, and r is at most 0.001; and, where the number of steps is not known and no loss depends on the
        copy, where 1 / r steps are 2,000 or more and 50 passes over the loader or more.
    Why: an average with decay d covers about 1 / (1 - d) steps. One of 0.9999, of a recipe with a million steps, leaves 74 % of
        the random start after 3,000: the loss falls, and what is sampled or evaluated from the average is noise. A target
        network or a teacher that stays at its start gives targets that mean nothing.
    What fools it: the first part of a longer run; a decay that the loop changes later, a start that is taken out of the
        average when it is read. Silent where the share is not the same at all rehearsed steps, as with a decay that rises from
        zero, an equal average, or a copy every few steps, and of weights that were loaded.
    Fix: a decay whose average covers a tenth of the run, 1 - 10 / steps: 0.997 for 3,000 steps. Or let the decay rise,
        min(decay, (1 + step) / (10 + step)), or begin the average with a copy of the weights after some hundred steps.
    Source: Tarvainen and Valpola, Mean teachers, NeurIPS 2017 (a smaller decay at first); Karras et al., Analyzing and
        Improving the Training Dynamics of Diffusion Models, CVPR 2024 (averages as shares of the run); own thresholds.
    """
    average = evidence.rehearsal.slow_average if evidence.rehearsal is not None else None
    average = average or reading.facts(evidence).readings.slow_average
    if average is None:
        return []
    steps = reading.planned_steps(evidence)
    if steps is None and evidence.is_complete:
        steps = reading.num_steps(evidence)
    return _of_known(average, steps) if steps is not None else _of_unknown(average)


def _of_known(average: SlowAverage, steps: int) -> list[Finding]:
    left, limit = (1 - average.rate) ** steps, _MOSTLY if average.is_used else _LEFT
    if steps < _FEWEST_STEPS or left < limit or (average.is_used and average.rate > _SLOW):
        return []
    seen = f"{_follows(average)}: after {steps:,} steps {100 * left:.0f} % of it are still its random start"
    measurement = Measurement(name="share of the start that is left", value=left, threshold=limit)
    return [_found(average, seen, measurement, "hint" if average.is_used else "warning", decay=_decay(10 / steps))]


def _of_unknown(average: SlowAverage) -> list[Finding]:
    covers = float(f"{1 / average.rate:.2g}")
    if average.is_used or average.batches is None or covers < max(_MANY_STEPS, _MOST_PASSES * average.batches):
        return []
    mostly = 0.7 * covers  # after which half of the start is left
    seen = (
        f"{_follows(average)}: it is mostly its random start for {mostly:,.0f} steps, {mostly / average.batches:,.0f} passes "
        "over the loader"
    )
    measurement = Measurement(name="steps that the average covers", value=covers, threshold=_MANY_STEPS, unit="steps")
    return [_found(average, seen, measurement, "hint", decay="1 - 10 / steps")]


def _follows(average: SlowAverage) -> str:
    return (
        f"{average.name} goes {average.rate:.2g} of the way to {average.twin} at each step, which is a decay of "
        f"{_decay(average.rate)}"
    )


def _decay(rate: float) -> str:
    """1 less a rate, which is given with two digits."""
    return f"{1 - float(f'{rate:.2g}'):.10g}"


def _found(average: SlowAverage, seen: str, measurement: Measurement, severity: Severity, *, decay: str) -> Finding:
    what = "the targets that it makes say" if average.is_used else "what is evaluated or sampled with it says"
    return Finding(
        rule="slow_average",
        severity=severity,
        seen=seen,
        measurements=(measurement, Measurement(name="share of the way at each step", value=average.rate)),
        cause=f"the decay belongs to a longer run: {what} little of the trained weights",
        remedy=f"a decay of {decay}, whose average covers a tenth of the run; or let it rise, "
        "min(decay, (1 + step) / (10 + step)); or begin the average with a copy of the weights after some hundred steps",
        source="Tarvainen and Valpola, Mean teachers, NeurIPS 2017; Karras et al., Analyzing and Improving the Training "
        "Dynamics of Diffusion Models, CVPR 2024",
    )
