"""An outlook in words: one sentence with its numbers."""

import itertools
import math

from trainability.doctor.evidence import Evidence
from trainability.doctor.layer_table import number
from trainability.doctor.other_rates import larger, looks_ahead, smaller, trained_share, typical_multiple
from trainability.doctor.outlook import Outlook
from trainability.doctor.outlook_limits import CANNOT_TELL, TOO_SLOW, UNSTABLE
from trainability.doctor.rehearsed import Rehearsal

_SAME = 0.05  # of one constant on two fixed batches


def sentence_beside(evidence: Evidence, outlook: Outlook, *, explained: str | None = None) -> str:
    """Return `sentence`, where experiments were made with the cost of the constant that their table gives, if both are one."""
    assert evidence.rehearsal is not None
    cost = evidence.experiments.chance if evidence.experiments is not None and not evidence.steps else None
    return sentence(evidence.rehearsal, outlook, explained=explained, cost=cost)


def sentence(rehearsal: Rehearsal, outlook: Outlook, *, explained: str | None = None, cost: float | None = None) -> str:
    """Why, in one sentence with its numbers; `explained` by a cause that a finding names, or with what would tell.

    Args:
        rehearsal: that was made.
        outlook: on it.
        explained: a cause in words; None to say what would tell.
        cost: of the best constant answer on another batch of the same kind; None for that of the rehearsal.
    """
    steps = len(rehearsal.steps)
    losses = list(itertools.takewhile(math.isfinite, (seen.loss for seen in rehearsal.reference)))
    parts = [f"{steps} rehearsed steps"]
    if losses:
        parts.append(f"took the loss on a fixed batch from {losses[0]:.4g} to {losses[-1]:.4g}")
    elif rehearsal.reference:
        parts.append("began with a loss on a fixed batch that is not finite")
    chance = rehearsal.task.chance if rehearsal.task.chance is not None else rehearsal.constant_loss
    if chance is not None:
        chance = cost if cost is not None and math.isclose(cost, chance, rel_tol=_SAME) else chance
        parts.append(f"(the best constant answer costs {chance:.4g})")
    said_of_losses = {"lost": _lost, "rising": _risen}.get(outlook.cause, lambda _: "")
    because = "; after that it is not finite" if outlook.cause == "not_finite" and losses else _BECAUSE.get(outlook.cause, "")
    because = because or said_of_losses(rehearsal)
    said = " ".join(parts) + (_of_other_rates(rehearsal, outlook.cause) or because)
    planned = f", {rehearsal.planned_steps:,} are planned" if rehearsal.planned_steps else ""
    if outlook.verdict == TOO_SLOW and outlook.steps_needed is not None:
        said += f"; about {outlook.steps_needed:,.0f} steps are needed{planned}"
    elif outlook.verdict == TOO_SLOW and (steps := _at_this_pace(rehearsal, outlook)) is not None:
        said += f"; at this pace it takes about {steps:,.0f} steps{planned}"
    elif outlook.verdict == TOO_SLOW and outlook.cause == "pace" and outlook.multiple is not None:
        said += f"; the loss keeps falling along {outlook.multiple:,.0f} times each step"
    elif outlook.multiple is not None and (
        outlook.verdict == CANNOT_TELL or (outlook.verdict == UNSTABLE and outlook.multiple <= 1)
    ):
        said += _room(outlook.multiple)
    if explained is not None:
        return f"{said}; {explained}"
    longer = _LONGER_RUN if rehearsal.ended_by == "steps" else _LONGER_REHEARSAL
    return said + (f"; {_WOULD_TELL.get(outlook.cause, longer)} would tell" if outlook.verdict == CANNOT_TELL else "")


def _room(multiple: float) -> str:
    """How much longer a single step could be; where they are too long, what raises the loss."""
    if multiple <= 1:
        return f"; a step {number(multiple)} times as long already raises the loss"
    longer = f"{multiple:,.0f}" if multiple >= 10 else number(multiple)
    return (
        f"; a single update could be {longer} times as long before the loss on its batch rises: a limit for one, not for a run"
    )


def _lost(rehearsal: Rehearsal) -> str:
    """How low the loss was before what had been learned was lost."""
    best = min(rehearsal.reference, key=lambda seen: seen.loss)
    return f"; it was down to {best.loss:.4g} after {best.step} steps, and what was learned then is lost"


def _risen(rehearsal: Rehearsal) -> str:
    """Where the loss went, and how long the last step was."""
    multiple = rehearsal.critical[-1][1].multiple if rehearsal.critical else None
    length = f", and {number(multiple)} of the last step would have raised it" if multiple is not None else ""
    return f"; it has risen{length}"


def _at_this_pace(rehearsal: Rehearsal, outlook: Outlook) -> float | None:
    """Steps to a quarter of the way on a straight line, to one digit: no prediction, since a pace changes."""
    if outlook.projected is None or outlook.share is None or rehearsal.planned_steps is None:
        return None
    last = rehearsal.reference[-1].step
    rise, ahead = outlook.projected - outlook.share, rehearsal.planned_steps - last
    if rise <= 0 or ahead <= 0:
        return None
    return float(f"{last + (trained_share(rehearsal.task) - outlook.share) * ahead / rise:.1g}")


def _of_other_rates(rehearsal: Rehearsal, cause: str) -> str | None:
    """What they did, where they decided."""
    if cause not in ("forecast", "larger_rate", "smaller_rate", "no_rate") or not rehearsal.other_rates:
        return None
    scales, multiple = [rate.scale for rate in rehearsal.other_rates], typical_multiple(rehearsal) or 0.0
    if cause == "no_rate":
        return f"; at {min(scales):g} to {max(scales):g} times its learning rate it does no better"
    ahead, _ = looks_ahead(rehearsal, multiple)
    of = {"forecast": [ahead] if ahead else [], "larger_rate": larger(rehearsal, multiple), "smaller_rate": smaller(rehearsal)}
    asked = [trial.scale for trial in of[cause]]
    rates = [rate for rate in rehearsal.other_rates if rate.scale in asked]
    if not rates:
        return None
    best = min(rates, key=lambda rate: rate.reference[-1].loss)
    seen = f"{best.reference[-1].step} steps at {best.scale:g} times the learning rate end at {best.reference[-1].loss:.4g}"
    is_forecast = cause == "forecast" and looks_ahead(rehearsal, multiple)[1]
    return f"; {seen}" + (", about where the full run will end" if is_forecast else "")


_LONGER_RUN = "a longer run"
_LONGER_REHEARSAL = "a longer rehearsal (rehearse_seconds=, or --rehearse of check)"  # whose steps the time did not suffice for
_WOULD_TELL = {
    "no_steps": "a rehearsal (rehearse_seconds=)",
    "no_loss": "a loss that can be computed without a step (loss_fn= or training_step= in place of step=)",
    "warms_up": "a run beyond the warm-up, watched by Monitor,",
    "at_constant": "a longer run, of 300 steps and more, watched by Monitor or `trainability run`,",
    "idle": "a step() of each optimizer, and another check,",
    "opposed": "a measure of what the models make, told to Monitor.record_evaluation during the run,",
    "chance_unknown": "a longer run, watched by Monitor, or `confirm`, which steps it further,",
}
_BECAUSE = {
    "collapsed": "; the outputs no longer depend on the input",
    "constant": "; the outputs do not depend on the input",
    "at_constant": "; what it has learned so far is no better than one answer for every example",
    "no_update": "; no update was made",
    "uphill": "; the steps go uphill",
    "idle": "; one of several optimizers made no step, so what its parameters would do is not known",
    "warms_up": "; the learning rate still rises, so its pace is not known",
    "at_start": "; the weights know the task already",
    "near_the_plan": "; whether the planned steps suffice is open",
    "chance_unknown": "; what one answer for every example would cost could not be found for this loss",
    "opposed": "; models with losses against each other are not judged by a loss: gradients, updates, how far weights go and"
    " whether everything is finite were checked",
    "gone": "; the weights are many times their size from where they began, and the loss many times what it was",
    "nowhere": "; in the whole plan no model's weights will go as far as 3 % of their size",
    "restless": "; it swings too much to promise that it keeps what it learns",
    "not_kept": "; at some learning rate it learns and loses it again, so it is not dead",
}
