"""A warm-up of the learning rate that is longer than the run."""

import itertools

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence, OptimizerSettings
from trainability.doctor.finding import Finding, Measurement, Severity
from trainability.doctor.rate_choice import settings_of
from trainability.doctor.rules.rule import rule

_FEWEST_STEPS = 100  # of a run
_FEWEST_REHEARSED = 20
_REACHED = 0.1  # of the rate that the schedule leads to
_MOST_PASSES, _MANY_STEPS = 100, 2000  # of a warm-up, where the run's length is not known
_LEARNED = 0.5  # of the first loss
_STRAIGHT = 0.02  # of the whole rise, from a line


@rule(
    severities=("warning", "hint"),
    explains=("plateau", "update_ratio", "slow_start", "constant_as_good", "unmoved_parameter", "cannot_overfit"),
)
def long_warm_up(evidence: Evidence) -> list[Finding]:
    """The run ends while its learning rate still rises, far below where it leads.

    Fires: a loop of 100 steps or more has come to its end, its learning rate never fell and still rose at the last step, or,
        where it rises once an epoch, before the last epoch, and has reached a tenth or less of the rate that the schedule leads
        to: the optimizer's own, or the largest of a `OneCycleLR`, `CyclicLR` or `LambdaLR`. A hint where the loss is below half
        of its first. Before a run: the rate rises along a line at each of 20 rehearsed steps or more, and is at a tenth or less
        of that rate when the planned steps are done; or, where their number is not known, would arrive after 2,000 steps and
        100 passes over the loader, or later.
    Why: all steps of the run are made at rates that were meant for its beginning. Schedules count their own calls: one that is
        given a number of examples, or of another run's steps, and is stepped with each batch, warms up that much longer.
    What fools it: the first part of a longer run.
    Fix: give the schedule a warm-up in the unit in which it is stepped: `len(loader)` batches an epoch, not
        `len(loader.dataset)` examples. A usual one is a twentieth of the run. Or step the
        schedule after each batch.
    Source: Goyal et al., Accurate, Large Minibatch SGD, 2017, section 2.2 (gradual warm-up); own thresholds.
    """
    settings = settings_of(evidence)
    peak = _leads_to(settings) if settings is not None else None
    if settings is None or peak is None:
        return []
    return _of_run(evidence, settings, peak) if evidence.steps else _of_rehearsal(evidence, settings, peak)


def _leads_to(settings: OptimizerSettings) -> float | None:
    """The rate at the end of a warm-up; None without a schedule, or where it is a function of the user's that is not known."""
    if settings.schedule is None or settings.base_lr is None:
        return None
    if settings.schedule in ("LambdaLR", "MultiplicativeLR"):
        return settings.base_lr * settings.largest_factor if settings.largest_factor is not None else None
    return max(settings.base_lr, settings.max_lr or 0.0)


def _of_run(evidence: Evidence, settings: OptimizerSettings, peak: float) -> list[Finding]:
    rates = [step.lr for step in evidence.steps if step.lr is not None]
    if not evidence.is_complete or len(rates) < _FEWEST_STEPS or not reading.started_at_zero(evidence):
        return []
    # A schedule that is stepped once an epoch keeps each rate for one epoch; a longer last stretch is no rise any more.
    held = [len(list(same)) for _, same in itertools.groupby(rates)]
    rises = all(a <= b for a, b in itertools.pairwise(rates)) and len(held) > 2 and held[-1] <= max(held[:-1])
    if not rises or rates[-1] > _REACHED * peak:
        return []
    recent, first = reading.recent_loss(evidence), evidence.steps[0].loss
    is_hint = recent is not None and recent < _LEARNED * first
    said = f"after {len(rates):,} steps the learning rate is {rates[-1]:.2g} and still rises"
    said += f"; {settings.schedule} leads to {peak:g}"
    return [_found(said, rates[-1] / peak, "hint" if is_hint else "warning", steps_at_once=max(held))]


def _of_rehearsal(evidence: Evidence, settings: OptimizerSettings, peak: float) -> list[Finding]:
    rehearsal = evidence.rehearsal
    rates = [step.lr for step in rehearsal.steps if step.lr is not None] if rehearsal is not None else []
    if rehearsal is None or len(rates) < _FEWEST_REHEARSED or not 0 <= rates[0] < rates[-1] < peak:
        return []
    rise = (rates[-1] - rates[0]) / (len(rates) - 1)
    if max(abs(rate - rates[0] - k * rise) for k, rate in enumerate(rates)) > _STRAIGHT * (rates[-1] - rates[0]):
        return []
    needed, planned = (peak - rates[0]) / rise, settings.planned_steps or rehearsal.planned_steps
    said = f"the learning rate rises from {rates[0]:.2g} by {rise:.2g} a step: it takes {needed:,.0f} steps to {peak:g}"
    if planned is not None:
        reached = (rates[0] + planned * rise) / peak
        return [_found(f"{said}, and {planned:,} are planned", reached, "warning")] if reached <= _REACHED else []
    a_pass = rehearsal.rates_of_pass[0] if rehearsal.rates_of_pass is not None else None
    if a_pass is None or needed < max(_MANY_STEPS, _MOST_PASSES * a_pass):
        return []
    return [_found(f"{said}, {needed / a_pass:,.0f} passes over the loader", rates[-1] / peak, "warning")]


def _found(said: str, reached: float, severity: Severity, *, steps_at_once: int = 1) -> Finding:
    again = "scheduler.step() after each batch, in place of once an epoch; or " if steps_at_once > 1 else ""
    return Finding(
        rule="long_warm_up",
        severity=severity,
        seen=said,
        measurements=(Measurement(name="rate reached over the rate that it leads to", value=reached, threshold=_REACHED),),
        cause="the warm-up is counted in another unit than the schedule is stepped in, or is meant for a longer run",
        remedy=f"{again}a warm-up counted in the schedule's own steps: len(loader) batches an epoch, not len(loader.dataset) "
        "examples; a twentieth of the run is usual",
        source="Goyal et al., Accurate, Large Minibatch SGD, 2017 (gradual warm-up)",
    )
