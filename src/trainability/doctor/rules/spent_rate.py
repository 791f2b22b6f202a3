"""A schedule that ends after a few steps of the run. No rule."""

import itertools
import math
import statistics
from dataclasses import replace

from trainability.doctor import reading
from trainability.doctor.best_constant import standing
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement, Severity
from trainability.doctor.outlook_limits import DEAD_RATE, PASS_SHARE, PASS_STEPS, SPENT_RATE, SPENT_SHARE
from trainability.doctor.rate_choice import settings_of
from trainability.doctor.rehearsed import Rehearsal

_FEWEST_STEPS = 100
_SHORT_RUN = 45  # steps at the largest rate: a linear schedule over 100 steps comes to 50, with a warm-up to 45
AHEAD = 1e-3  # of the largest rate: almost nothing, in a schedule that is read ahead
ALMOST_NONE_LEFT = 0.05  # of the loss of the first steps: there is no more to learn
FALLS_ON = 0.15  # of the first dead rate, after two thirds of the dead ones: half a cosine has a quarter left, a floor all
ALIVE = 0.5  # of the largest rate
_FEWEST_OF_A_HALF = 4
_EVEN = 0.25  # of the logarithm of the fall, in either half of the steps
NO_RATE = 1e-7  # of the largest: below what float32 resolves of a weight
# Scheduler -> what to change of its arguments, where it is to be stepped after each batch.
_IN_STEPS = {
    "StepLR": "give step_size in steps: the number of epochs times len(train_loader)",
    "MultiStepLR": "give milestones in steps: each number of epochs times len(train_loader)",
    "ExponentialLR": "give it the gamma of one step: gamma ** (1 / len(train_loader))",
    "ReduceLROnPlateau": "give patience in steps: the number of epochs times len(train_loader)",
    "CosineAnnealingLR": "give it the run's number of steps as T_max",
    "OneCycleLR": "give it the run's number of steps as total_steps",
    "LinearLR": "give it the run's number of steps as total_iters",
    "PolynomialLR": "give it the run's number of steps as total_iters",
}
_WITH_GAMMA = (None, "StepLR", "MultiStepLR", "ExponentialLR")


def spent_in_the_run(evidence: Evidence) -> list[Finding] | None:
    """Test whether the rate was large at a few steps only, so that the run makes no other progress.

    Args:
        evidence: of a loop that was watched from its first step.

    Returns:
        None before step 100, when it cannot be known, unless the rate has died before.
    """
    rates = [step.lr for step in evidence.steps if step.lr is not None]
    if not any(rates) or not reading.started_at_zero(evidence):
        return None if len(rates) < _FEWEST_STEPS or not reading.started_at_zero(evidence) else []
    if _died_early(evidence) or (reading.facts(evidence).was_stopped and _decays(rates)):
        return [_watched(evidence, AHEAD, "warning")]
    if len(rates) < _FEWEST_STEPS:
        return None
    most = max(rates)
    moves = max(rates[len(rates) // 2 :]) > NO_RATE * most
    if rates[-1] > SPENT_RATE * (1 + 1e-6) * most or (
        (moves or not _goes_by_steps(evidence)) and sum(rates) > SPENT_SHARE * len(rates) * most
    ):
        return []
    # A scheduler that waits for a plateau lowers the rate of a run that has learned; it does not stay at 0 for half of the run,
    # and a run no better than the best constant answer has learned nothing, however far its loss has come down.
    at = standing(evidence)
    fine = moves and reading.has_learned(evidence) and (at is None or not at.is_no_better)
    return [_watched(evidence, SPENT_RATE, "hint" if fine else "warning")]


def _died_early(evidence: Evidence) -> bool:
    """Whether a schedule was over while the loss still fell, and the run went on for half as long again or longer.

    A third of the steps or more, up to the last, are at a thousandth of the largest rate or less, and it falls on; all rates
    together come to no more than a short run takes. A schedule that is made for the run ends with it. One that waits for a
    plateau lowers a rate at which the loss no longer fell, and a second phase at a small rate keeps that rate.
    """
    steps = [step for step in evidence.steps if step.lr is not None]
    rates = [step.lr or 0.0 for step in steps]
    if len(rates) < 2 * reading.WINDOW_STEPS or sum(rates) > _SHORT_RUN * max(rates):
        return False
    begins = _spent_from(rates, AHEAD)
    dead = rates[begins:]
    if len(dead) < max(begins / 2, reading.WINDOW_STEPS) or dead[2 * len(dead) // 3] > FALLS_ON * dead[0]:
        return False
    losses = [step.loss for step in steps]
    recent = reading.recent_loss(evidence)
    if recent is None or recent < ALMOST_NONE_LEFT * statistics.fmean(losses[:5]):
        return False
    alive = [loss for loss, rate in zip(losses, rates, strict=True) if rate > ALIVE * max(rates)]
    return (
        not reading.has_learned(evidence)
        or (2 * len(dead) >= len(rates) and _goes_by_steps(evidence))
        or _fell_to_the_end(alive)
    )


def _goes_by_steps(evidence: Evidence) -> bool:
    """Whether a scheduler lowers the rate that does not wait for what the run shows."""
    settings = evidence.optimizer
    return settings is not None and settings.schedule not in (None, "ReduceLROnPlateau")


def _decays(rates: list[float]) -> bool:
    """Whether a rate falls to a thousandth by equal factors, as by gamma, and so goes on to fall; a line or cosine ends."""
    most, last = max(rates), rates[-1]
    if len(rates) < 2 * reading.WINDOW_STEPS or last > AHEAD * (1 + 1e-6) * most:
        return False
    middle = rates[len(rates) // 2]
    if not last > 0.0 or not middle > 0.0:
        return last == middle == 0.0
    share = math.log(middle / most) / math.log(last / most)
    falls = all(later <= earlier for earlier, later in itertools.pairwise(rates[rates.index(most) :]))
    return falls and _EVEN <= share <= 1 - _EVEN


def _fell_to_the_end(losses: list[float]) -> bool:
    """Whether a line through the later half of some losses falls, by three standard errors; a few steps are no end."""
    late = losses[len(losses) // 2 :]
    if len(late) < _FEWEST_OF_A_HALF:
        return True
    slope, start = statistics.linear_regression(range(len(late)), late)
    rest = [loss - (start + slope * place) for place, loss in enumerate(late)]
    error = math.sqrt(sum(r * r for r in rest) / (len(late) - 2) * 12 / len(late) ** 3)
    return -slope > 3 * error


def _spent_from(rates: list[float], limit: float) -> int:
    """Place of the first of the last rates that are all at most this share of the largest."""
    most = limit * (1 + 1e-6) * max(rates)
    return len(rates) - sum(1 for _ in itertools.takewhile(lambda rate: rate <= most, reversed(rates)))


def _watched(evidence: Evidence, limit: float, severity: Severity) -> Finding:
    """The finding of a run: from which step on, and what the rate is now."""
    steps = [step for step in evidence.steps if step.lr is not None]
    rates = [step.lr or 0.0 for step in steps]
    return died(
        [max(rates), rates[-1]],
        steps[_spent_from(rates, limit)].step,
        limit,
        None,
        severity,
        now=f"it is {rates[-1]:.2g} at step {steps[-1].step:,}",
        schedule=_schedule_of(evidence),
    )


def _schedule_of(evidence: Evidence) -> str | None:
    settings = settings_of(evidence)
    return settings.schedule if settings is not None else None


def spent_in_rehearsal(rehearsal: Rehearsal | None, evidence: Evidence) -> list[Finding]:
    """The same for the rehearsed steps, and for a schedule that was read further after them."""
    rates = [step.lr for step in rehearsal.steps if step.lr is not None] if rehearsal is not None else []
    schedule = _schedule_of(evidence)
    if rehearsal is None or not any(rates):
        return _spent_ahead(rehearsal, schedule)
    if found := _spent_ahead(rehearsal, schedule):
        return found
    if rates[-1] > DEAD_RATE * (1 + 1e-6) * max(rates):
        return _spent_in_a_pass(rehearsal, max(rates), schedule)
    planned = rehearsal.planned_steps
    if planned is not None and len(rehearsal.steps) > planned / 2:
        return []
    severity: Severity = "error" if planned is not None else "warning"
    return [died(rates, len(rehearsal.steps), DEAD_RATE, planned, severity, schedule=schedule)]


def _spent_ahead(rehearsal: Rehearsal | None, schedule: str | None) -> list[Finding]:
    """A schedule that was read to the planned end, and ends before half of it."""
    if rehearsal is None or rehearsal.rate_spent is None or not rehearsal.planned_steps:
        return []
    step, rate, most = rehearsal.rate_spent
    if step > rehearsal.planned_steps / 2:
        return []
    is_open = rehearsal.schedule_held and rehearsal.scheduler_interval is None
    planned = rehearsal.planned_steps
    now = f"it is {rate:.2g} at the last step, {planned:,}"
    limit, certain = (AHEAD, "error") if rate <= AHEAD * (1 + 1e-6) * most else (SPENT_RATE, "warning")
    severity: Severity = "hint" if is_open else certain  # type: ignore[assignment]
    found = died([most, rate], step, limit, planned, severity, now=now, schedule=schedule)
    if rehearsal.scheduler_interval == "epoch":
        remedy = "give the schedule the run's number of epochs, or a factor nearer to 1"
        found = replace(found, cause="the schedule falls in fewer epochs than the run has", remedy=remedy)
    return [_if_per_batch(found)] if is_open else [found]


def ends(evidence: Evidence) -> list[Finding]:
    """A scheduler that fails in the middle of the planned run."""
    rehearsal = evidence.rehearsal
    if rehearsal is None or rehearsal.schedule_ends is None or rehearsal.planned_steps is None:
        return []
    last, planned = rehearsal.schedule_ends, rehearsal.planned_steps
    return [
        Finding(
            rule="rate_dies",
            code="rate_dies.ends",
            severity="error",
            seen=f"OneCycleLR is made for {last:,} steps, and {planned:,} are planned: step {last + 1:,} raises ValueError",
            measurements=(
                Measurement(name="steps of the schedule", value=float(last), unit="steps", threshold=float(planned)),
            ),
            cause="total_steps, or epochs times steps_per_epoch, is not the number of steps of the run: batches that are "
            "dropped or added, other epochs, or a scheduler that is stepped with each batch and counts epochs",
            remedy=f"OneCycleLR(..., total_steps={planned}), or epochs and steps_per_epoch=len(train_loader) of this run",
            source="PyTorch, torch.optim.lr_scheduler.OneCycleLR; its own total_steps beside the plan",
        )
    ]


def _if_per_batch(found: Finding) -> Finding:
    """The finding, of a scheduler that nobody said is stepped after each batch."""
    return replace(
        found,
        seen=f"{found.seen}, if the scheduler is stepped after each batch; the rehearsal did not step it",
        cause="its numbers may be those of epochs, and a loop may step it after each batch",
        remedy='step it once per epoch, and tell check so: scheduler_interval="epoch"',
    )


def _spent_in_a_pass(rehearsal: Rehearsal, most: float, schedule: str | None) -> list[Finding]:
    """A run of unknown length, whose rate is almost zero at the end of its first pass over the loader."""
    if rehearsal.rates_of_pass is None:
        return []
    size, together, last = rehearsal.rates_of_pass
    if last > SPENT_RATE or together > min(PASS_SHARE * size, PASS_STEPS):
        return []
    # A schedule that ends after 100 steps or more may belong to a run over a part of the loader.
    may_be_meant = last == 0.0 and together > _SHORT_RUN
    is_open = may_be_meant or rehearsal.schedule_held or rehearsal.ended_by == "enough"  # which has learned before
    severity: Severity = "hint" if is_open else "warning"
    found = died([most, last * most], max(size, len(rehearsal.steps)), SPENT_RATE, None, severity, schedule=schedule)
    return [_if_per_batch(found)] if rehearsal.schedule_held else [found]


def died(
    rates: list[float],
    steps: int,
    limit: float,
    planned: int | None,
    severity: Severity,
    *,
    now: str | None = None,
    schedule: str | None,
) -> Finding:
    """The finding: a rate that is almost zero.

    Args:
        rates: the largest, and the last one behind it.
        steps: after which the last one was read; with `now`, the first step from which all rates are below the limit.
        limit: share of the largest.
        planned: steps of the run, where they are known.
        severity: of the finding.
        now: what the rate is at the last step, in words.
        schedule: class of the scheduler, where it is known.
    """
    in_steps = _IN_STEPS.get(schedule or "", "pass the run's number of steps to it")
    no_decay = "; gamma=1, not 0, for no decay" if rates[-1] == 0.0 and schedule in _WITH_GAMMA else ""
    seen = f"after {steps:,} steps the learning rate is {rates[-1]:.2g}, from {max(rates):.2g}"
    if now is not None:
        share = "a thousandth" if limit == AHEAD else "a hundredth"
        seen = f"from step {steps:,} on the learning rate is at most {share} of its largest, {max(rates):.2g}; {now}"
    return Finding(
        rule="rate_dies",
        severity=severity,
        seen=seen,
        measurements=(
            Measurement(name="learning rate over its largest", value=rates[-1] / max(rates), threshold=limit),
            Measurement(name="steps", value=float(steps), unit="steps", threshold=planned),
        ),
        cause="the schedule reaches a rate of 0 and stays there"
        if rates[-1] == 0.0
        else "the scheduler decays per step instead of per epoch",
        remedy=f"step the scheduler once per epoch, or {in_steps}{no_decay}",
        source="own; read at each step",
    )
