"""Remedies for steps that are too large or too small: the rate to set, as code for the loop's optimizer. No rule."""

import math
import statistics
from collections.abc import Iterator

from trainability.doctor import reading
from trainability.doctor.as_code import as_code
from trainability.doctor.evidence import Evidence
from trainability.doctor.experimented import written
from trainability.doctor.layer_stats import LayerStats
from trainability.doctor.layer_table import number
from trainability.doctor.outlook import judge_rehearsal
from trainability.doctor.outlook_limits import UNSTABLE
from trainability.doctor.rate_choice import AGREES, BELOW_CRITICAL, chosen, guess, own_rate, settings_of
from trainability.doctor.reading import WINDOW_STEPS
from trainability.doctor.rehearsed import CriticalStep
from trainability.doctor.rules.late_peak import at_peak

USUAL_RATIO = 1e-3  # usual update over weight, and the lowest in nets that have trained for a while
# Update over weight of the typical layer at the start, after the remedy: the middle of what nets that learn show, 1e-3 to 1e-2.
WANTED_RATIO, LARGEST_RATIO = 3e-3, 1e-2
# Update over weight of the worst layer, after the remedy: the typical layer is then near 1e-3 to 1e-2. Embeddings that start at
# 0.02 have 0.15 under Adam at 3e-3, and train.
WORST_RATIO = 1 / 30
_WARM_UP = 300  # steps
_OF_OTHERS = ", and the rates of other groups to that where they are larger"
MOST_AT_ONCE = 100.0
"""Largest factor by which a rate is raised on the word of one ratio: where gradients vanish they grow with the steps."""
FEW = 10.0
"""A rate that is too large by no more than this may be kept, if the gradient norm is clipped."""

TINY_STEPS = 1e3  # critical multiples of sound programs lie below (pilot of 43: 1 to 1,000)
LARGEST_ADAPTIVE = 0.3  # a rate of Adam and its kin, whose steps are as long as that, whatever the gradients' size
LOUD_RECURRENCE = 1.5  # rms of a recurrent weight times the root of its width: 1 if orthogonal, 0.58 with PyTorch's default


def smaller_steps(evidence: Evidence, divisor: float | None = None, how: str = "") -> str:
    """Propose a lower learning rate for the loop's optimizer: one that was tried, or one from measurements.

    Args:
        evidence: with the rehearsal, where there was one.
        divisor: of the rate, if there is no rehearsal; None computes it from the first updates, or takes ten without them.
        how: what the divisor was computed from, if it is given.
    """
    if (peak := _below_the_trouble(evidence)) is not None:
        return peak
    measured = _measured(evidence, smaller=True)
    if measured is not None:
        return measured
    if (clip := _clip_alone(evidence)) is not None:
        return clip
    needed, how = _divisor(evidence) if divisor is None else (divisor, how)
    if (past := _past_the_slope(evidence)) > needed:
        needed, how = past, ": a step of this size, with what momentum adds to it, overshoots the minimum"
    said = rate_to_set(evidence, 1 / needed) + how
    if needed > FEW or reading.is_adaptive(evidence):
        return said
    settings = settings_of(evidence)
    limit = _usual_norm(evidence)
    if settings is None or settings.clip is not None or limit is None:
        return said
    clip = f"torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm={limit:.2g})"
    return f"{said}; or {clip} between backward and step, {_of_steps(evidence)}"


def larger_steps(evidence: Evidence, ratio: float | None = None) -> str:
    """Propose a higher learning rate: one that was tried, or one from measurements.

    Without a rehearsal the update over weight is brought to what is usual: of the layer that moves most to 1/30 under Adam and
    its kin, whose first steps are as long as any; else of the typical layer to 3e-3. A run of a few hundred steps needs more:
    the sum of its steps must reach the size of a weight, here three times it, up to a ratio of 1e-2.

    Args:
        evidence: with the rehearsal, where there was one.
        ratio: update over weight of the typical layer; None or 0 if unknown.
    """
    if (clip := raised_clip(evidence)) is not None:
        return clip
    measured = _measured(evidence, smaller=False)
    if measured is not None:
        return measured
    rates = [step.lr for step in evidence.steps if step.lr]
    grows = bool(ratio and rates) and max(rates) > AGREES * rates[0]  # in a warm-up the first step is the smallest
    worst = 0.0 if grows else _worst_at_first(evidence)
    if reading.is_adaptive(evidence) and worst * AGREES >= WORST_RATIO:
        return f"keep the learning rate: its first step changed a layer by {worst:.2g} of its size, which is usual"
    if reading.is_adaptive(evidence) and 0 < worst < WORST_RATIO:
        if (own_rate(evidence) or 0.0) * WORST_RATIO / worst > LARGEST_ADAPTIVE:
            return (
                "find out why gradients are so small that the optimizer's eps divides them, and no rate makes up for it: what "
                "makes the outputs alike, or cuts them off (trainability check looks at the model before its first step)"
            )
        return (
            rate_to_set(evidence, WORST_RATIO / worst)
            + f": a first step then changes no layer by more than {100 * WORST_RATIO:.0f} %"
        )
    if not ratio:
        return rate_to_set(evidence, FEW) + ", and another factor of ten while the loss does not move"
    planned = reading.planned_steps(evidence) or reading.num_steps(evidence)
    wanted = min(max(WANTED_RATIO, 3 / planned), LARGEST_RATIO) if planned else WANTED_RATIO
    at = last_updates(evidence)
    if wanted / ratio > MOST_AT_ONCE:
        said = f", and look again; it may take {wanted / ratio:.0f} times today's in all{at}"
        return rate_to_set(evidence, MOST_AT_ONCE) + said
    return rate_to_set(evidence, wanted / ratio) + f": a step then changes the typical layer by {wanted:.0e} of its size{at}"


def raised_clip(evidence: Evidence) -> str | None:
    """Propose a higher clip threshold, where clipping leaves less than a hundredth of the usual gradient; else None."""
    settings, probe = settings_of(evidence), evidence.probe
    clip = settings.clip if settings is not None else None
    if reading.clipped_to_nothing(evidence):
        norm, whose = _usual_norm(evidence) or 1.0, _of_steps(evidence)
    elif not evidence.steps and clip and probe is not None and math.isfinite(probe.gradient_norm):
        norm, whose = probe.gradient_norm, "the first batch's"
        if norm < 100 * clip:
            return None
    else:
        return None
    said = f"raise the clip threshold to the usual gradient norm, {whose}: max_norm={norm:.2g}"
    return said + (f" in place of {clip:g}" if clip else "")


def toward_usual(evidence: Evidence, ratio: float) -> str:
    """Propose a rate from the update over weight of the typical layer, whether it is too large or too small."""
    return (
        larger_steps(evidence, ratio)
        if ratio < USUAL_RATIO
        else smaller_steps(evidence, ratio / USUAL_RATIO, last_updates(evidence))
    )


def last_updates(evidence: Evidence) -> str:
    """Name the updates that a proposal is based on; a later diagnosis of the same run has others."""
    return f", by the updates of step {evidence.samples[-1].step:,}" if evidence.samples else ""


def _measured(evidence: Evidence, *, smaller: bool) -> str | None:
    """The rate that was tried, or that the critical step gives, if it is on the finding's side."""
    own, tried, asked = own_rate(evidence), chosen(evidence), guess(evidence)
    rate = tried.rate if tried is not None else asked
    if own is None or rate is None or not (rate < own / AGREES * 1.01 if smaller else rate > own * AGREES / 1.01):
        return None
    said = rate_to_set(evidence, rate / own)
    if tried is None:
        return said + f": {BELOW_CRITICAL:.0f} times below where the loss rises along the first rehearsed step"
    said += f": {tried.steps} rehearsed steps at it took the loss on a fixed batch from {written(tried.first)} "
    said += f"to {written(tried.last)}"
    said += f" (at {own:g} to {written(tried.own)})"
    return said if tried.learns else said + "; no rate that was tried got further, so the rate is not the only problem"


def rate_to_set(evidence: Evidence, scale: float) -> str:
    """The rate to set, as the code line of the loop's optimizer where it is known."""
    settings, own = settings_of(evidence), own_rate(evidence)
    if own is None:
        return f"{'multiply' if scale > 1 else 'divide'} the learning rate by {number(max(scale, 1 / scale))}"
    rate = f"{own * scale:.1g}"
    word = "raise" if scale > 1 else "lower"
    if settings is not None and settings.schedule is not None and settings.max_lr is not None:  # whatever the optimizer has
        return f"{word} the peak of the schedule: {at_peak(settings, settings.schedule, scale, settings.max_lr)}"
    if settings is None:
        return f"{word} the learning rate: lr={rate} in place of {own:g}"
    said = f"{word} the learning rate: {settings.name}(..., lr={rate}) in place of {own:g}"
    if settings.num_rates > 1:  # `own` is the largest
        said += f", and the other groups' rates by the same factor, {float(rate) / own:.2g}" if scale > 1 else _OF_OTHERS
    return said


def warmed_up(evidence: Evidence) -> str:
    """How long a rate should take to rise from zero: a few hundred steps, or a tenth of a run that is short."""
    planned = reading.planned_steps(evidence) or reading.num_steps(evidence)
    steps = min(_WARM_UP, planned // 10) if planned else _WARM_UP
    return f", with a warm-up of {steps} steps" if steps > 1 else ""


def _below_the_trouble(evidence: Evidence) -> str | None:
    """A smaller peak, where a schedule had raised the rate to three times its first and more when a run's loss was lowest.

    A tenth of the rate at that place is proposed, if the loss has more than doubled since: it was borne until then.
    """
    settings, steps = settings_of(evidence), evidence.finite_steps
    windows = [steps[i : i + WINDOW_STEPS] for i in range(0, len(steps) - WINDOW_STEPS + 1, WINDOW_STEPS)]
    if settings is None or settings.schedule is None or not windows or not reading.started_at_zero(evidence):
        return None
    means = [statistics.fmean(step.loss for step in window) for window in windows]
    lowest, best = min(zip(means, windows, strict=True), key=lambda pair: pair[0])
    first, last = steps[0].lr, best[-1]
    is_worse = means[-1] > 2 * lowest or any(not step.skipped and not math.isfinite(step.loss) for step in evidence.steps)
    if not first or not last.lr or last.lr < AGREES * first or lowest <= 0 or not is_worse:
        return None
    peak = settings.max_lr or max(step.lr for step in steps if step.lr)
    said = at_peak(settings, settings.schedule, last.lr / FEW / peak, peak)
    return f"lower the peak of the schedule: {said}; the loss was lowest near step {last.step:,}, at a rate of {last.lr:.2g}"


def _clip_alone(evidence: Evidence) -> str | None:
    """Clipping under SGD, where the critical step shows that the rate is right and only single gradients are too large."""
    own, asked, settings = own_rate(evidence), guess(evidence), settings_of(evidence)
    if own is None or asked is None or asked < own / AGREES or settings is None:
        return None
    if reading.is_adaptive(evidence) or settings.clip is not None:
        return None
    norms = [step.gradient_norm for step in (evidence.rehearsal.steps if evidence.rehearsal is not None else ())]
    finite = [norm for norm in norms if norm is not None and math.isfinite(norm) and norm > 0]
    limit = _usual_norm(evidence) or (statistics.median(finite) if finite else 1.0)
    clip = f"torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm={limit:.2g})"
    return f"{clip} between backward and step, at the median norm: the rate itself is below where the loss rises"


def _divisor(evidence: Evidence) -> tuple[float, str]:
    """How much smaller steps must be, from the first updates seen, and how that was found."""
    worst = _worst_at_first(evidence)
    if worst / WORST_RATIO <= FEW:
        return FEW, ""
    return worst / WORST_RATIO, f": the first step changed a layer by {number(worst)} times its size"


def _past_the_slope(evidence: Evidence) -> float:
    """How much smaller SGD's rate must be, from the run's first loss and gradient; 0 if they are not known.

    Along the first gradient, a non-negative loss reaches zero at a rate of loss / norm ** 2 at the latest, and begins to rise
    before. Momentum adds up to 1 / (1 - momentum) such steps. A third of that is asked for, as a loss that bends allows half.
    """
    settings, first = settings_of(evidence), evidence.steps[0] if reading.started_at_zero(evidence) else None
    if settings is None or settings.name != "SGD" or first is None or not first.lr or not first.gradient_norm:
        return 0.0
    if not 0 < first.loss < math.inf or not math.isfinite(first.gradient_norm) or settings.clip is not None:
        return 0.0
    gathered = 1 / (1 - min(settings.momentum or 0.0, 0.999))
    return 3 * first.lr * gathered * first.gradient_norm**2 / first.loss


def _worst_at_first(evidence: Evidence) -> float:
    """Largest finite update over weight of the first step; 0 if none was seen.

    Adam's first step is the learning rate in every weight that has a gradient. That counts for a layer that had none at first.
    """
    settings = settings_of(evidence)
    step = settings.lr if settings is not None and "Adam" in settings.name else 0.0
    layers = [s for s in first_layers(evidence) if s.kind not in ("norm", "parameter")]
    ratios = [s.update_ratio or (step / s.weight_rms if s.weight_rms else 0.0) for s in layers]
    return max((ratio for ratio in ratios if math.isfinite(ratio)), default=0.0)


def replaced_at_first(evidence: Evidence) -> bool:
    """Whether the first step changed a layer by a third of its size or more, which does not happen in a net that learns."""
    return _worst_at_first(evidence) >= 10 * WORST_RATIO


def was_unstable(evidence: Evidence) -> bool:
    """Whether rehearsed steps were too long, and a run, if there was one, has not learned since."""
    rehearsal = evidence.rehearsal
    if rehearsal is None or not rehearsal.steps or judge_rehearsal(rehearsal).verdict != UNSTABLE:
        return False
    return not evidence.steps or not reading.has_learned(evidence)


def steps_round_to_nothing(evidence: Evidence) -> bool:
    """Whether rehearsed steps were far too small: the loss falls along a thousand times each or more."""
    critical = evidence.rehearsal.critical if evidence.rehearsal is not None else ()
    multiples = [step.multiple for _, step in critical if step.multiple is not None]
    return bool(multiples) and min(multiples) > TINY_STEPS


def orthogonal_recurrence(evidence: Evidence) -> str | None:
    """Propose orthogonal recurrent weights, and clipping under SGD, where their gain is far above 1; else None.

    Through time the gradient is multiplied by the recurrent weight at each step: at a gain of 3 and 20 steps by 3e9. No
    learning rate is small enough for that and large enough for the rest (Saxe et al. 2014; Pascanu et al. 2013).
    """
    first = evidence.samples[0].layers if evidence.samples and evidence.samples[0].step == 1 else ()
    gains = {
        s.name: s.weight_rms * math.sqrt(s.fan_in)
        for s in first
        if s.kind == "recurrent" and "weight_hh" in s.name and s.weight_rms and s.fan_in
    }
    if not gains or max(gains.values()) < LOUD_RECURRENCE:
        return None
    names = [name for name, gain in gains.items() if gain >= LOUD_RECURRENCE]
    said = " and ".join(f"torch.nn.init.orthogonal_({as_code(name)})" for name in names)
    said += f", whose gain is {max(gains.values()):.2g} instead of 1"
    settings = settings_of(evidence)
    if reading.is_adaptive(evidence) or (settings is not None and settings.clip is not None):
        return said
    limit = _usual_norm(evidence) or 1.0
    return said + f"; and torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm={limit:.2g}) between backward and step"


def _of_steps(evidence: Evidence) -> str:
    """Name the steps of the usual norm's median; a later diagnosis of the same run has others."""
    return f"the median of {len([s for s in evidence.steps if s.gradient_norm is not None]):,} steps"


def _usual_norm(evidence: Evidence) -> float | None:
    """Median gradient norm of the run; None with too few steps."""
    norms = [s.gradient_norm for s in evidence.steps if s.gradient_norm is not None and math.isfinite(s.gradient_norm)]
    return statistics.median(norms) or None if len(norms) >= WINDOW_STEPS else None


def first_layers(evidence: Evidence) -> tuple[LayerStats, ...]:
    """Layers at the first sampled step, if that was the first step, in the probe, and at the first rehearsed step."""
    first = evidence.samples[0].layers if evidence.samples and evidence.samples[0].step == 1 else ()
    probed = evidence.probe.layers if evidence.probe is not None and evidence.probe.at_start else ()
    step = evidence.rehearsal.critical[0][1] if evidence.rehearsal and evidence.rehearsal.critical else None
    return (*first, *(probed or (_of_a_step(step) if step is not None else ())))


def _of_a_step(step: CriticalStep) -> Iterator[LayerStats]:
    """What a rehearsed step made of each weight, for programs of which no layer was looked at."""
    sized = {name: (size, fan_in) for name, size, fan_in in step.sizes}
    for name, ratio in step.update_ratios:
        size, fan_in = sized.get(name, (None, None))
        shown = name.removesuffix(".weight")
        yield LayerStats(name=shown, kind="linear", update_ratio=ratio, weight_rms=size, fan_in=fan_in)
