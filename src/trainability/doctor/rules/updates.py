"""Updates relative to the weights that they move: their length, and what the number format leaves of them."""

import math
import statistics
from collections.abc import Sequence

from trainability.doctor import reading
from trainability.doctor.best_constant import standing, still_falls
from trainability.doctor.evidence import Evidence, Sample
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.layer_stats import LayerStats
from trainability.doctor.layer_table import number
from trainability.doctor.outlook import judge_rehearsal
from trainability.doctor.outlook_limits import LARGE_MULTIPLE, STANDING
from trainability.doctor.rate_choice import Choice, leaves_room, outdone, settings_of
from trainability.doctor.rehearsed import Rehearsal
from trainability.doctor.rules.far_start import above_constant
from trainability.doctor.rules.late_peak import late_peak
from trainability.doctor.rules.rule import rule
from trainability.doctor.rules.smaller_steps import (
    TINY_STEPS,
    first_layers,
    larger_steps,
    smaller_steps,
    toward_usual,
)
from trainability.doctor.rules.undone import thrown_at_first, undone_by_steps

# Share of a weight's elements that a step does not move (own, 16 small programs in bfloat16: at 0.7 or more the loss ends 10
# to 40 % above float32's, at 0.6 and less by 10 % at most); steps that were looked at; loss over the first, below which steps
# are small because little is left to learn.
MOST_ROUNDED, _FEWEST_LOOKS, LITTLE_LEFT = 0.65, 3, 0.3
_NEARLY_ALL, _SAME_RATE = 0.95, 1.05  # of the elements; of the first rate
ALMOST_NONE_LEFT = 0.05  # of the loss of the first steps
# Another rate over the loop's own; and losses over the best constant answer's, at the loop's rate and at that one.
FAR_LARGER, VERY_FAR_LARGER, AS_GOOD, LEARNED_OF, LEARNED_AFTER_ALL = 100.0, 1000.0, 0.9, 0.3, 0.8
HARDLY = 0.1  # of weights, and of the loss, of a run that is far above the best constant answer's cost
NOWHERE, _FEWEST_STEPS = 0.05, 300  # of a weight, that all steps of a run come to at most; steps of such a run
# Critical step over the update: healthy nets have 1 to 64. Loss over the constant's, above which a plan ended on its way.
SHORT, VERY_SHORT, FEWEST_MULTIPLES, HALF_WAY = 30.0, 100.0, 4, 0.5
# eps of an optimizer, and over the typical gradient: far above it; and where steps, measured, are shorter than they may be.
SMALLEST_SWAMPING, SWAMPED, OUTWEIGHED = 1e-5, 100.0, 10.0


@rule(severities=("warning",), predicts=True, explains=("plateau", "constant_as_good", "update_ratio"))
def underflow(evidence: Evidence) -> list[Finding]:
    """More than half of a layer's gradient, or of its updates, rounds to nothing.

    Fires: the target precision rounds more than 50 % of the non-zero elements of a layer's weight gradient to zero. Code
        `weights`: for weights kept in float16 or bfloat16, the typical step leaves more than 65 % of the elements of the
        typical weight bitwise unchanged, and the loss is not below three tenths of its first value. Code `unmoved`, which
        stands though the rehearsed loss falls: 95 % or more at all later looks, under an optimizer of PyTorch's own, where half
        of the layers are as drawn, the rate does not rise, and the loss is above three tenths of the best constant answer's.
    Why: float16 has no number between 0 and 6e-8. Up to half, only the smallest elements are lost, which hardly matter; above
        that, whole units stop learning.
    What fools it: a loss scaler that the probe does not know of.
    Fix: use bfloat16, or scale the loss (`torch.amp.GradScaler`).
    Source: Micikevicius et al., Mixed Precision Training, ICLR 2018, section 3.2; own share.
    """
    probe = evidence.probe
    lost = [s for s in (probe.layers if probe is not None else ()) if (s.underflow_fraction or 0.0) > 0.5]
    if probe is None or not lost:
        return _rounded_steps(evidence)
    worst = max(lost, key=lambda s: s.underflow_fraction or 0.0)
    return [
        Finding(
            rule="underflow",
            severity="warning",
            seen=f"{probe.precision} rounds {100 * (worst.underflow_fraction or 0.0):.0f} % of the gradient of "
            f"{reading.called(worst)} to zero",
            measurements=(
                Measurement(
                    name=f"share lost in {reading.called_in_short(worst)}", value=worst.underflow_fraction or 0.0, threshold=0.5
                ),
            ),
            cause=f"gradients are smaller than the smallest {probe.precision} number",
            remedy="use bfloat16, or scale the loss (torch.amp.GradScaler)",
            source="Micikevicius et al., Mixed Precision Training, ICLR 2018, section 3.2",
            layers=reading.names(lost),
        )
    ]


def _rounded_steps(evidence: Evidence) -> list[Finding]:
    """Weights whose number format is too coarse for the steps."""
    if evidence.steps:
        seen = [[s.unmoved_fraction for s in each.layers if s.unmoved_fraction is not None] for each in evidence.samples]
        shares = [statistics.median(row) for row in seen if row]
    else:
        steps = evidence.rehearsal.critical if evidence.rehearsal is not None else ()
        shares = [step.unmoved_fraction for _, step in steps if step.unmoved_fraction is not None]
    late = shares[len(shares) // 2 :]  # the averages of Adam have filled; its first steps are as long as any
    share = statistics.median(late) if len(shares) >= _FEWEST_LOOKS else 0.0
    if share <= MOST_ROUNDED or _has_come_down(evidence):
        return []
    name = reading.facts(evidence).low_precision
    is_certain = not evidence.steps and min(late) >= _NEARLY_ALL and _has_far_to_go(evidence)
    return [
        Finding(
            rule="underflow",
            code="underflow.unmoved" if is_certain else "underflow.weights",
            severity="warning",
            seen=f"a step leaves {100 * share:.0f} % of the typical weight's elements unchanged: "
            f"{name or 'their number format'} rounds it away",
            measurements=(Measurement(name="elements that a step does not move", value=share, threshold=MOST_ROUNDED),),
            cause="weights are kept in a format of 8 to 11 bits, and steps are smaller than its resolution",
            remedy="weights in float32, and torch.autocast for the forward pass; or " + larger_steps(evidence),
            source="Micikevicius et al., Mixed Precision Training, ICLR 2018, section 3.1 (a float32 copy of the weights)",
        )
    ]


def _has_far_to_go(evidence: Evidence) -> bool:
    """Whether new weights take rounded steps, at the full rate, and most is still to be learned."""
    rehearsal = evidence.rehearsal
    if rehearsal is None or not rehearsal.rounds_steps or rehearsal.late_peak is not None or not rehearsal.reference:
        return False
    rates = [step.lr for step in rehearsal.steps if step.lr is not None]
    cost = rehearsal.task.chance if rehearsal.task.chance is not None else rehearsal.constant_loss
    settings = settings_of(evidence)
    if settings is not None and settings.base_lr is not None and rates:
        peak = settings.base_lr * max(settings.largest_factor or 1.0, 1.0)
        if settings.schedule is not None and max(peak, settings.max_lr or 0.0) > _SAME_RATE * rates[0]:
            return False
    if not rates or max(rates) > _SAME_RATE * rates[0] or cost is None or not reading.facts(evidence).readings.is_new:
        return False
    return rehearsal.reference[-1].loss > LITTLE_LEFT * cost


def _has_come_down(evidence: Evidence, left: float = LITTLE_LEFT) -> bool:
    recent, steps = reading.recent_loss(evidence), evidence.finite_steps
    if recent is None or not reading.started_at_zero(evidence):
        return False
    return recent < left * statistics.fmean(step.loss for step in steps[:5])


@rule(severities=("warning", "hint"), explains=("prediction_collapse", "constant_as_good", "plateau"))
def update_ratio(evidence: Evidence) -> list[Finding]:
    """The typical update is far from 1e-3 of the weight, or another rate did better.

    Fires: the median over the layers of the rms of a step over the rms of the weight is below 1e-5 or above 0.1. A warning
        where it is below 1e-5 before a run whose rehearsal is too slow; where it was so at the first step, or where 300 steps
        or more together come to less than a twentieth of the weight (100 or more, to less than a hundredth), if neither rate
        nor gradient grows, clipping leaves more than a hundredth, and the loss has fallen by less than 2 % in 100 steps or
        more, or by 5 % to chance. A warning also where a rehearsal at another rate, in no more steps than the run took, came to
        less than half of the run's loss; and where a run has taken all planned steps, its loss still falls and is above half of
        the best constant answer's cost, the last tenth of the steps, at an unchanged rate, brought a quarter or more of the
        average tenth, and along every rehearsed update the loss fell to 30 times its length, and to 100 times for the typical
        one. A hint before a run whose verdict depends on such a rate, or which loses again what it has learned, where a smaller
        rate keeps it, or stays open, where every update could be 100 times as long and another rate comes to half of the loss;
        a warning, unless half of the layers look as if they had been trained before, where the loss at the loop's own rate
        stays at 0.9 of the best constant answer's cost or more, and comes to 0.3 at 100 times that rate or more, or at 1,000
        times where no plan is known, or, of an unstable loop, to 0.8 at a smaller one. Code `eps`, a warning: eps is above 1e-5
        and 100 times a typical gradient, and the loss falls along a thousand times each rehearsed update; or ten times, and it
        falls along 30 times each and a hundred times the typical one. A warning where, after 50 rehearsed steps or more that
        get no lower than the best constant answer's cost, outputs differ between examples by less than 1e-3 of their size,
        though they differed by 0.01 or more before, and by a tenth of that after as many steps at a smaller rate; or at the
        last two looks alone, where the loss at a smaller rate comes below 0.8 of that cost. A warning where the first step of a
        run moves the median layer by more than 0.3 of its size, one of the next five losses is 1.2 times the first or more, and
        the run ends no better than the best constant answer. Code `peak`, a warning before a run: the largest rate of a
        schedule comes after the last rehearsed step and is three times those that were rehearsed or more; of the whole schedule
        with half of that peak, rehearsed in 100 steps, the loss is not finite, or in the last third no lower than the best
        constant answer's cost, with answers that are alike or at twice that cost; and with a tenth or a hundredth of the peak
        it ends below nine tenths of that cost and of the first loss. A warning, in place of `loss_at_start.constant`, where the
        loss has moved by less than 2 % and falls to 3,000 times the typical rehearsed update, or in a run of 300 steps by less
        than a tenth, with a sum of all updates below that. Silent on small steps where a twentieth of the loss of the first
        steps is left, on a typical update of exactly zero before a run, and on large ones under LBFGS while the loss does not
        rise. Codes `large` and `small`: of steps that are too large, and too small.
    Why: about 1e-3 is usual in nets that learn. The lower end is wide, because late epochs and fine-tuning are slow on purpose;
        hence a hint, too. The effect of another rate, on the same batches from the same start, is measured, whatever the ratio.
    What fools it: warm-up, the end of a schedule, fine-tuning, and layers that start at zero.
    Fix: the learning rate in the finding: one that was tried, or one that the critical step gives; from the ratio alone it is
        raised by 100 at most, to be checked again. Where clipping makes the steps small, the clip threshold.
    Source: TheDeepChecker, TOSEM 2022 (1e-4 to 1e-1); the lower end widened for late epochs.
    """
    if (
        found := late_peak(evidence)
        or _swamped_by_eps(evidence)
        or undone_by_steps(evidence)
        or thrown_at_first(evidence)
        or _far_off_and_still(evidence)
        or _outdone_by_another_rate(evidence)
        or _ends_on_its_way(evidence)
    ) is not None:
        return [found]
    layers = reading.latest_layers(evidence) or first_layers(evidence)  # without a probe a rehearsal's first update tells
    ratios = _ratios(layers)
    if not ratios or not all(math.isfinite(r) for r in ratios):
        return []
    middle = statistics.median(ratios)
    # Clipping, not the rate, is the cause of such steps: the rule clipping reports it.
    stands = middle <= 1e-1 and _never_moved(evidence) and not reading.clipped_to_nothing(evidence)
    is_done = middle < 1e-5 and _has_come_down(evidence, ALMOST_NONE_LEFT)  # only small steps are left to take
    is_zero = middle == 0.0  # a schedule begins at zero; one that stays there, or is rounded away, has its rules
    is_usual = 1e-5 <= middle <= 1e-1 or is_done or is_zero or (middle > 1e-1 and reading.is_searched(evidence))
    if is_usual and not stands:
        return []
    return [
        Finding(
            rule="update_ratio",
            code="update_ratio.large" if middle > 1e-1 else "update_ratio.small",
            severity="warning" if stands or (middle < 1e-5 and _is_too_slow(evidence)) else "hint",
            seen=f"a step changes the typical layer by {middle:.1e} of its size; about 1e-3 is usual"
            + (f", and all {reading.num_steps(evidence):,} together by {_travelled(evidence):.1g} at most" if stands else ""),
            measurements=(
                Measurement(name="update over weight", value=middle, threshold=1e-1 if middle > 1e-1 else 1e-5),
                *([Measurement(name="sum of all updates", value=_travelled(evidence), threshold=NOWHERE)] if stands else []),
            ),
            cause="the learning rate does not fit the size of the gradients",
            remedy=toward_usual(evidence, middle),
            source="TheDeepChecker, TOSEM 2022 ([1e-4, 1e-1]); lower end widened for late epochs",
        )
    ]


def _is_too_slow(evidence: Evidence) -> bool:
    """Whether the verdict before a run is that its steps are too short."""
    tried = evidence.rehearsal
    return not evidence.steps and tried is not None and judge_rehearsal(tried).verdict == "too slow"


def _swamped_by_eps(evidence: Evidence) -> Finding | None:
    """Adam divides by the root of the squares plus eps: an eps far above the gradients makes it SGD with a rate of lr / eps."""
    eps, settings, probe = reading.facts(evidence).eps, settings_of(evidence), evidence.probe
    sizes = [s.gradient_rms for s in (probe.layers if probe is not None else ()) if s.gradient_rms and reading.is_matrix(s)]
    if eps is None or eps < SMALLEST_SWAMPING or not sizes or settings is None:
        return None
    size, shortest, typical = statistics.median(sizes), *_multiples(evidence)
    far, short = size * SWAMPED < eps and shortest > TINY_STEPS, size * OUTWEIGHED < eps and shortest > SHORT
    if not (far or (short and typical > VERY_SHORT)):
        return None
    return Finding(
        rule="update_ratio",
        code="update_ratio.eps",
        severity="warning",
        seen=f"eps={eps:g} is {number(eps / size)} times a gradient of the typical layer, so steps are shorter than lr by "
        "that factor",
        measurements=(Measurement(name="eps over gradient", value=eps / size, threshold=SWAMPED if far else OUTWEIGHED),),
        cause="eps is far larger than the root of the gradients' squares, to which it is added",
        remedy=f"{settings.name}(..., eps=1e-8) in place of {eps:g}",
        source="Kingma and Ba, Adam, ICLR 2015, algorithm 1",
    )


def _multiples(evidence: Evidence) -> tuple[float, float]:
    """The smallest and the median of the critical steps over the updates; 0 without any."""
    critical = evidence.rehearsal.critical if evidence.rehearsal is not None else ()
    multiples = [step.multiple for _, step in critical if step.multiple is not None]
    return (min(multiples), statistics.median(multiples)) if multiples else (0.0, 0.0)


def _outdone_by_another_rate(evidence: Evidence) -> Finding | None:
    """A rate that was tried and did far better than the loop's own; None without one, or if clipping makes the steps small."""
    better = outdone(evidence) if not reading.clipped_to_nothing(evidence) else None
    if better is None:
        return None
    small, rehearsal = better.scale > 1, evidence.rehearsal
    is_open = rehearsal is not None and not evidence.steps and leaves_room(rehearsal)
    at_once = rehearsal is not None and _learned_at_once(better, rehearsal)
    own = reading.recent_loss(evidence) if evidence.steps else better.own
    after = f"{reading.num_steps(evidence)} steps" if evidence.steps else f"{better.steps} rehearsed steps"
    return Finding(
        rule="update_ratio",
        code="update_ratio.small" if small else "update_ratio.large",
        severity="warning" if evidence.steps or (at_once and not reading.facts(evidence).readings.is_fine_tuned) else "hint",
        seen=f"after {after} the loss is {own:.3g}; at {number(better.scale)} times the learning rate, {better.steps} "
        f"rehearsed steps brought it to {better.last:.3g}",
        measurements=(
            Measurement(name="loss at the loop's own rate", value=own or math.inf, threshold=better.last),
            Measurement(name="better rate over the loop's own", value=better.scale, threshold=1.0),
        ),
        cause="a larger learning rate learns faster; whether this one is too small, the length of the run decides"
        if is_open and not at_once
        else f"the learning rate is too {'small' if small else 'large'}",
        remedy=larger_steps(evidence) if small else smaller_steps(evidence),
        source="own; rehearsed at both rates",
    )


def _learned_at_once(better: Choice, rehearsal: Rehearsal) -> bool:
    """Whether another rate took the loss far below the best constant answer's cost, where the loop's own stays at it.

    Not at a larger rate where the plan is so long that the loop's own comes as far.
    """
    constant = rehearsal.task.chance if rehearsal.task.chance is not None else rehearsal.constant_loss
    if constant is None or better.own < AS_GOOD * constant:
        return False
    if better.scale < 1:
        return better.last < LEARNED_AFTER_ALL * constant
    is_short = rehearsal.planned_steps is None or rehearsal.planned_steps < better.scale * better.steps
    far = FAR_LARGER if rehearsal.planned_steps is not None else VERY_FAR_LARGER
    return is_short and better.scale >= far and better.last < LEARNED_OF * constant


def _far_off_and_still(evidence: Evidence) -> Finding | None:
    """Steps so small that a loss far above the best constant answer's cost stays there, which `loss_at_start` reports else."""
    start, losses = above_constant(evidence), [step.loss for step in evidence.finite_steps]
    if not evidence.steps and evidence.rehearsal is not None:
        losses = [seen.loss for seen in evidence.rehearsal.reference]
    if start is None or len(losses) < 2 or reading.clipped_to_nothing(evidence):
        return None
    window = min(reading.WINDOW_STEPS, len(losses) // 2) if evidence.steps else 1
    before, now = statistics.fmean(losses[:window]), statistics.fmean(losses[-window:])
    fall = 1 - now / before if before > 0 else 1.0
    if evidence.steps:
        went = _travelled(evidence)
        is_small = len(losses) >= _FEWEST_STEPS and 0 < went < HARDLY and abs(fall) < HARDLY and not _sets_off(evidence)
        how = f"all {reading.num_steps(evidence):,} steps together change the typical layer by {went:.1g} of its size"
        shown = Measurement(name="sum of all updates", value=went, threshold=HARDLY)
    else:
        went = _multiples(evidence)[1]
        is_small = went > LARGE_MULTIPLE and abs(fall) < STANDING
        how = f"along a rehearsed update it falls to {number(went)} times its length"
        shown = Measurement(name="critical step over the update", value=went, threshold=LARGE_MULTIPLE)
    if not is_small:
        return None
    return Finding(
        rule="update_ratio",
        code="update_ratio.small",
        severity="warning",
        seen=f"{start.seen}; {how}",
        measurements=(shown, *start.measurements),
        cause="the learning rate is too small to leave a start that is far from the targets",
        remedy=larger_steps(evidence),
        source="own; followed in the rehearsal, or watched",
        explains=("loss_at_start",),
    )


def _ends_on_its_way(evidence: Evidence) -> Finding | None:
    """A plan that ends before half of the way, with steps a hundred times shorter than the loss allows."""
    rehearsal, at, done = evidence.rehearsal, standing(evidence), reading.num_steps(evidence)
    multiples = [step.multiple for _, step in rehearsal.critical if step.multiple is not None] if rehearsal is not None else []
    planned = rehearsal.planned_steps if rehearsal is not None else None
    if (
        at is None
        or planned is None
        or done < planned
        or len(multiples) < FEWEST_MULTIPLES
        or reading.clipped_to_nothing(evidence)
    ):
        return None
    typical = statistics.median(multiples)
    if (
        min(multiples) < SHORT
        or typical < VERY_SHORT
        or not HALF_WAY * at.cost < at.loss < at.cost
        or not still_falls(evidence)
        or _slows(evidence)
    ):
        return None
    return Finding(
        rule="update_ratio",
        code="update_ratio.small",
        severity="warning",
        seen=f"after all {done:,} steps the loss is {at.loss:.3g} and still falls ({at.name}, whatever the input, costs "
        f"{at.cost:.3g}); along a rehearsed update it falls to {number(typical)} times its length",
        measurements=(
            Measurement(name="loss over the best constant's", value=at.loss / at.cost, threshold=HALF_WAY),
            Measurement(name="critical step over the update", value=typical, threshold=VERY_SHORT),
        ),
        cause="the learning rate is too small for the number of steps, or for the scale of targets and loss",
        remedy=larger_steps(evidence),
        source="own; followed in the rehearsal",
    )


def _slows(evidence: Evidence) -> bool:
    """Whether the last tenth of the run, at an unchanged rate, brought less than a quarter of the average tenth.

    The loss then approaches its floor, which is far above zero with smoothed labels, for example.
    """
    losses = [step.loss for step in evidence.finite_steps]
    rates = [step.lr for step in evidence.steps if step.lr]
    window = len(losses) // 10
    if window < reading.WINDOW_STEPS or (rates and rates[-1] < max(rates) / 2):
        return False
    start, before, last = losses[:window], losses[-2 * window : -window], losses[-window:]
    error = math.sqrt((statistics.pvariance(before) + statistics.pvariance(last)) / window)
    usual = (statistics.fmean(start) - statistics.fmean(last)) / 9
    return statistics.fmean(before) - statistics.fmean(last) + 2 * error < usual / 4


def _never_moved(evidence: Evidence) -> bool:
    """Whether steps were tiny from the first one on, or are small in all, and the loss has hardly changed."""
    steps, recent = evidence.finite_steps, reading.recent_loss(evidence)
    if recent is None or len(steps) < 100 or not reading.started_at_zero(evidence) or evidence.samples[0].step != 1:
        return False
    first, before = _typical(evidence.samples[0]), statistics.fmean(s.loss for s in steps[: reading.WINDOW_STEPS])
    last = _typical(evidence.samples[-1])
    tiny = first is not None and last is not None and max(first, last) < 1e-5  # a warm-up's first step is
    limit = NOWHERE if len(steps) >= _FEWEST_STEPS else NOWHERE / 5  # in a short run a slow start has not gone far either
    went_nowhere = 0 < _travelled(evidence) < limit and not _sets_off(evidence)
    chance = reading.chance_loss(evidence)
    moved = 0.05 if went_nowhere and chance is not None and recent >= 0.95 * chance else 0.02  # to chance, from above
    return (tiny or went_nowhere) and abs(recent - before) < moved * abs(before)


def _sets_off(evidence: Evidence) -> bool:
    """Whether the rate is still being raised, or the gradient has grown by half, so that the loss will fall later."""
    rates = [step.lr for step in evidence.steps if step.lr]
    norms = [s.gradient_norm for s in evidence.steps if s.gradient_norm is not None and math.isfinite(s.gradient_norm)]
    window = reading.WINDOW_STEPS
    grown = len(norms) >= 2 * window and statistics.median(norms[-window:]) > 1.5 * statistics.median(norms[:window])
    return grown or (bool(rates) and rates[-1] > 1.5 * rates[0] and rates[-1] >= 0.99 * max(rates))


def _typical(sample: Sample) -> float | None:
    ratios = _ratios(sample.layers)
    return statistics.median(ratios) if ratios else None


def _ratios(layers: Sequence[LayerStats]) -> list[float]:
    """Updates over weights; no rate moves a layer that no gradient reaches."""
    return [
        s.update_ratio
        for s in layers
        if s.update_ratio is not None and reading.is_matrix(s) and not (s.update_ratio == 0.0 and not s.gradient_rms)
    ]


def _travelled(evidence: Evidence) -> float:
    """Sum of all updates over the weight, as if all had the same direction; from the typical layer at sampled steps."""
    seen = [ratio for sample in evidence.samples if (ratio := _typical(sample)) is not None]
    return reading.num_steps(evidence) * statistics.fmean(seen) if seen else 0.0
