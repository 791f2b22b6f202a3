"""Clipping of the gradient norm: dropped too early, or always active."""

import statistics
from dataclasses import replace

from trainability.doctor import reading
from trainability.doctor.best_constant import standing
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.outlook_limits import WARMING
from trainability.doctor.rate_choice import outdone
from trainability.doctor.rules.rule import rule
from trainability.doctor.rules.smaller_steps import raised_clip

_TO_NOTHING = 0.01  # of the gradient is left
_FALLS = 0.1  # of the first loss, and of the fall with a higher threshold
_OFTEN = 0.1  # share of the steps that clipping would change
_LATEST = 200  # steps
_FEWEST_MEASURED = 25  # of 50 steps: Monitor measures the first 20, and then every fourth


@rule(
    severities=("error", "warning", "hint"),
    verdict="unstable",
    explains=("exploding_gradient", "not_finite", "oscillation", "loss_cliff", "clipping", "update_ratio", "dead_units"),
)
def clip_dropped(evidence: Evidence) -> list[Finding]:
    """Clipping was active and has stopped, though gradient norms still exceed its threshold.

    Fires: three steps or more were clipped, and after the last of them five or more had a norm above 1.05 times the threshold
        and were not clipped. An error where the loss was still at chance when clipping stopped. Code `order`: in each of three
        rehearsed passes or more through the body, `clip_grad_norm_` runs before there is a gradient or after all steps are
        made, and gradients are cleared between steps; a warning where a tenth of the steps have a norm above the threshold,
        else a hint. An infinite threshold only measures the norm and does not count. A warning with code `result`: a statement
        of the body calls a function such as clamp(), which has an in-place twin, on a weight or its gradient, and drops the
        result.
    Why: the threshold is read off the clipped steps (the median of norm times ratio). Five such steps cannot be rounding. If
        clipping stops at chance level, it stops before it has done its work, and the next large gradient moves the net
        unchecked.
    What fools it: a threshold that the loop raises on purpose.
    Fix: keep clipping for the whole run; clip between backward() and step().
    Source: own; the log's code dropped the clip below a loss of 7.0, and chance is ln 1000 = 6.9.
    """
    if (vain := _without_result(evidence) or _in_vain(evidence)) is not None:
        return [vain]
    steps = [s for s in evidence.steps if s.clip_ratio is not None and s.gradient_norm is not None]
    clipped = [i for i, s in enumerate(steps) if (s.clip_ratio or 1.0) < 0.999]
    if len(clipped) < 3:
        return []
    limits = [(steps[i].gradient_norm or 0.0) * (steps[i].clip_ratio or 1.0) for i in clipped]
    limit = statistics.median(limits)
    after = steps[clipped[-1] + 1 :]
    over = [s for s in after if not (s.gradient_norm or 0.0) <= 1.05 * limit]
    if len(over) < 5:
        return []
    chance = reading.chance_loss(evidence)
    at_chance = chance is not None and after[0].loss > 0.95 * chance
    return [
        Finding(
            rule="clip_dropped",
            severity="error" if at_chance else "warning",
            seen=f"clipping at {limit:.3g} stopped after step {steps[clipped[-1]].step}; {len(over)} steps with a larger norm "
            "followed" + (", and the loss was still at chance" if at_chance else ""),
            measurements=(
                Measurement(name="unclipped steps over the threshold", value=float(len(over)), threshold=5.0),
                Measurement(name="threshold before that", value=limit),
                Measurement(name="loss when it stopped", value=after[0].loss, unit="nats", threshold=chance),
            ),
            cause="clipping depends on a level of the loss that chance already meets",
            remedy="keep clipping for the whole run",
            source="own; the log's code dropped clipping below a loss of 7.0, and ln 1000 is 6.9",
        )
    ]


def _without_result(evidence: Evidence) -> Finding | None:
    """A call meant to limit weights or gradients, whose result is dropped."""
    found = evidence.rehearsal.dropped_result if evidence.rehearsal is not None else None
    if found is None:
        return None
    function, name, is_gradient = found
    what = f"the gradient of {name}" if is_gradient else name
    return Finding(
        rule="clip_dropped",
        code="clip_dropped.result",
        severity="warning",
        seen=f"the loop calls {function}() on {what} and drops the result: the call changes nothing",
        measurements=(Measurement(name="calls in place", value=0.0, threshold=1.0),),
        cause=f"{function}() returns a new tensor and does not change its argument",
        remedy=f"call {function}_(), with the underscore, which changes the tensor in place",
        source="PyTorch, torch.Tensor: methods that end in an underscore work in place",
        layers=(name,),
    )


def _in_vain(evidence: Evidence) -> Finding | None:
    """Clipping before there is a gradient, or after the step."""
    rehearsal = evidence.rehearsal
    if rehearsal is None or rehearsal.vain_clip is None or rehearsal.stale_fraction:
        return None
    when, limit = rehearsal.vain_clip
    norms = [s.gradient_norm for s in (*rehearsal.steps, *evidence.steps) if s.gradient_norm is not None]
    if when == "before" and not any(norms):
        return None  # gradients are zero at the clip because they are zero everywhere
    over = sum(not norm <= limit for norm in norms) / max(len(norms), 1)
    return Finding(
        rule="clip_dropped",
        code="clip_dropped.order",
        severity="warning" if over >= _OFTEN else "hint",
        seen=f"clip_grad_norm_ at {limit:.3g} runs "
        + ("before backward(), when there is no gradient" if when == "before" else "after optimizer.step()")
        + f": {100 * over:.0f} % of the steps are made with a larger norm",
        measurements=(Measurement(name="share of steps over the threshold", value=over, threshold=_OFTEN),),
        cause="clipping is at the wrong place in the loop, and changes no step",
        remedy="clip between backward and step: loss.backward(), then clip_grad_norm_, then optimizer.step()",
        source="PyTorch, torch.nn.utils.clip_grad_norm_; the order of calls in the rehearsal",
        explains=("sum_for_mean", "vanishing_gradient", "gain_budget_high", "loss_at_start") if over >= _OFTEN else (),
    )


@rule(severities=("warning", "hint"), explains=("update_ratio", "constant_as_good", "prediction_collapse"))
def clipping(evidence: Evidence) -> list[Finding]:
    """Almost every step is clipped, so the clip threshold sets the step size.

    Fires: the optimizer does not divide by the gradient's size, as Adam does, and 95 % or more of the steps that were measured
        among the last 200 were clipped: 25 steps or more, in a run of 50 or more, since Monitor measures the first 20 and then
        every fourth. A warning (code `to_nothing`) where less than a hundredth of the gradient is left, and in 100 steps the
        loss has fallen by less than an eighth, or is no lower than the cost of the best constant answer. Before a run, of such
        an optimizer: the threshold is below a hundredth of the first gradient's norm, and the rehearsed loss has
        fallen by less than 2 %, or by less than a tenth where larger steps were tried and do far better. A threshold that is
        not known is taken to be the norm that the optimizer finds, if that is the same to 5 % at each of 16 rehearsed steps or
        more. Also where each rehearsed gradient was clipped, the usual one to less than a hundredth, the loss rises only
        beyond a hundred times each step, the rate does not warm up, and a rehearsal with the usual norm as the threshold
        brings the loss down by a tenth and ten times as far.
    Why: each gradient then has the norm of the threshold, so that SGD's step has the length lr times threshold (with momentum,
        up to 1 / (1 - momentum) times that), and changing either changes the learning rate. An optimizer that divides by the
        gradient's size makes the same steps at a tenth of the threshold. A hint, because many recipes do this on purpose.
    What fools it: recipes that normalise the gradient on purpose.
    Fix: raise the threshold to the run's median norm; or keep it, and read the learning rate as lr times the threshold.
    Source: Pascanu et al., On the Difficulty of Training Recurrent Neural Networks, ICML 2013; own share.
    """
    ratios = [s.clip_ratio for s in evidence.steps[-_LATEST:] if s.clip_ratio is not None]
    if len(evidence.steps) < 50 or len(ratios) < _FEWEST_MEASURED:
        return _clips_to_nothing(evidence) if not evidence.steps else []
    share = sum(r < 0.999 for r in ratios) / len(ratios)
    norms = [s.gradient_norm for s in evidence.steps if s.gradient_norm is not None]
    usual = statistics.median(norms) if norms else 0.0
    if share < 0.95 or reading.is_adaptive(evidence):
        return []
    if reading.clipped_to_nothing(evidence) and _stands(evidence):
        return [_to_nothing(statistics.median(ratios), usual, raised_clip(evidence) or "")]
    return [
        Finding(
            rule="clipping",
            severity="hint",
            seen=f"{100 * share:.0f} % of the {len(ratios)} steps that were measured among the last "
            f"{min(len(evidence.steps), _LATEST)} were clipped, to {statistics.median(ratios):.2g} of their size",
            measurements=(Measurement(name="share of clipped steps", value=share, threshold=0.95),),
            cause="the clip threshold is below the usual gradient norm",
            remedy=f"raise the clip threshold to the median gradient norm of {len(norms):,} steps"
            + (f": max_norm={usual:.2g}" if usual > 0 else "")
            + "; or keep it, and read the learning rate as lr times the threshold",
            source="Pascanu et al., ICML 2013",
        )
    ]


def _kept_norm(evidence: Evidence) -> float | None:
    """The gradient norm that the optimizer finds, if it is the same at each rehearsed step: only clipping makes it so."""
    seen = evidence.rehearsal.steps if evidence.rehearsal is not None else ()
    norms = [step.gradient_norm for step in seen if step.gradient_norm]
    alike = len(norms) >= 16 and max(norms) - min(norms) < 0.05 * min(norms)
    return statistics.median(norms) if alike else None


def _clips_to_nothing(evidence: Evidence) -> list[Finding]:
    """A threshold that leaves almost nothing of the first gradient, and a loss that does not move."""
    if (tried := _raised(evidence)) is not None:
        return [tried]
    probe = evidence.probe
    told = probe.optimizer.clip if probe is not None and probe.optimizer is not None else None
    clip = told or _kept_norm(evidence)
    tried = [seen.loss for seen in evidence.rehearsal.reference] if evidence.rehearsal is not None else []
    if probe is None or clip is None or not tried or reading.is_adaptive(evidence):
        return []
    better = outdone(evidence)
    least = 0.9 if better is not None and better.scale > 1 else 0.98
    if not clip < 0.01 * probe.gradient_norm or tried[-1] < least * tried[0]:
        return []
    norm = probe.gradient_norm
    return [_to_nothing(clip / norm, norm, f"raise the clip threshold to the usual norm: max_norm={norm:.2g}")]


def clips_to_nothing(evidence: Evidence) -> bool:
    """Whether all rehearsed gradients were clipped, the usual one to less than a hundredth, and steps are far too short.

    An optimizer that divides by the gradient's size makes the same steps, and so does a rate that fits what is left.
    """
    rehearsal = evidence.rehearsal
    clipped = rehearsal.clipped if rehearsal is not None else None
    if rehearsal is None or clipped is None or rehearsal.opposed or len(rehearsal.reference) < 2:
        return False
    if reading.is_adaptive(evidence) or not clipped.limit < _TO_NOTHING * clipped.norm:
        return False
    rates = [step.lr for step in rehearsal.steps if step.lr]
    multiples = [step.multiple for _, step in rehearsal.critical if step.multiple is not None]
    warms_up = bool(rates) and rates[-1] > WARMING * rates[0]
    return not warms_up and bool(multiples) and min(multiples) > 1 / _TO_NOTHING


def _raised(evidence: Evidence) -> Finding | None:
    """What a rehearsal with the usual norm as the threshold came to, where that is far below the loop's own."""
    rehearsal = evidence.rehearsal
    if rehearsal is None or rehearsal.clipped is None or not rehearsal.clipped.tried or not clips_to_nothing(evidence):
        return None
    clipped, (first, *_, last) = rehearsal.clipped, [seen.loss for seen in rehearsal.reference]
    fall, wanted = first - last, first - clipped.tried[-1].loss
    if not (last > 0 and wanted > _FALLS * abs(first) and fall < _FALLS * wanted):
        return None
    found = _to_nothing(
        clipped.limit / clipped.norm, clipped.norm, f"raise the clip threshold to the usual norm: max_norm={clipped.norm:.2g}"
    )
    steps = rehearsal.reference[-1].step
    seen = (
        f"every gradient is clipped to {clipped.limit:.2g}, {clipped.norm / clipped.limit:,.0f} times below its usual norm: "
        f"{steps} rehearsed steps took the loss on a fixed batch from {first:.4g} to {last:.4g}, and with {clipped.norm:.2g} "
        f"as the threshold to {clipped.tried[-1].loss:.4g}"
    )
    return replace(found, seen=seen)


def _stands(evidence: Evidence) -> bool:
    """Whether a run of 100 steps or more has hardly lowered its loss."""
    recent, steps, at = reading.recent_loss(evidence), evidence.finite_steps, standing(evidence)
    if recent is None or len(steps) < 100:
        return False
    before = reading.loss_divisor(evidence) * statistics.fmean(s.loss for s in steps[: reading.WINDOW_STEPS])
    return recent > 0.875 * before or (at is not None and at.is_no_better)


def _to_nothing(left: float, norm: float, remedy: str) -> Finding:
    return Finding(
        rule="clipping",
        code="clipping.to_nothing",
        severity="warning",
        seen=f"clipping leaves {left:.1g} of the gradient, whose norm is {norm:.2g}; the loss hardly moves",
        measurements=(Measurement(name="gradient after clipping over before", value=left, threshold=0.01),),
        cause="the clip threshold is far below the usual gradient norm",
        remedy=remedy,
        source="Pascanu et al., ICML 2013",
    )
