"""Gradients and updates of the layers, at the last sampled step or in the probe."""

import itertools
import math
import statistics
from dataclasses import replace

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.layer_stats import LayerStats
from trainability.doctor.rate_choice import outdone, settings_of
from trainability.doctor.rules.drawing import drawn_for_signal
from trainability.doctor.rules.finite import kept_finite
from trainability.doctor.rules.rule import rule
from trainability.doctor.rules.smaller_steps import (
    WORST_RATIO,
    first_layers,
    larger_steps,
    orthogonal_recurrence,
    smaller_steps,
    steps_round_to_nothing,
    toward_usual,
)

_TINY = 1e-5  # gradient over weight
_DEAF = 1e-3  # fall of the loss over the loss
SMALLEST_SWAMPING, SWAMPED = 1e-5, 100.0  # eps of an optimizer, and over the typical gradient


def _is_matrix(layer: LayerStats) -> bool:
    """Not a scale, position table or class token: those are often zero at the start, and pass no gradient to other layers."""
    return layer.kind not in ("norm", "parameter")


@rule(
    severities=("error", "hint"),
    verdict="unstable",
    explains=(
        "not_finite",
        "oscillation",
        "loss_cliff",
        "clipping",
        "update_ratio",
        "loss_at_start",
        "dead_units",
        "untrained_parameter",
        "prediction_collapse",
    ),
    predicts=True,
)
def exploding_gradient(evidence: Evidence) -> list[Finding]:
    """One step would replace a weight: the update is larger than the weight itself.

    Fires: the rms of a step is more than 1 times the rms of the weight, in any layer but normalisation. Of a run whose loss has
        not fallen, or is twice that of a rehearsal at a smaller rate, the first sampled step and what was seen before it count,
        too. A hint in a run whose loss is below its first since, unless its gradients are all zero now or a smaller rate did
        so much better, or of which one step was watched. Of SGD whose gradient becomes NaN, a layer's ratio at the first step
        times what the norm grew by until then, at two steps at least. Silent where the first step's own is not finite.
    Why: gradient descent rests on a linear picture of the loss around the weights, and a ratio of 1 ends it, whatever the
        depth or the loss; healthy updates are near 1e-3. Published limits on the norm alone (70, 1000) alarm on wide healthy
        nets.
    What fools it: weights that start at or near zero on purpose, such as the last layer of a residual branch; a search along a
        line (LBFGS), and models of one layer, for which the picture holds at any distance. There the loss falls.
    Fix: the learning rate that is named. Under SGD, where the rate itself is below what the critical step allows, clip the
        gradient norm; draw recurrent weights orthogonal where their gain is far above 1.
    Source: own threshold; healthy updates: TheDeepChecker, TOSEM 2022.
    """
    if _not_finite_at_once(evidence):
        return []  # no step was made yet: what is not finite did not come from one
    # Steps that replaced the weights have made them large, or killed the net: the ratio is small again, and nothing is learned.
    better = outdone(evidence) if evidence.steps else None
    overshot = better is not None and better.scale < 1
    began = first_layers(evidence) if overshot or _nothing_learned(evidence) else ()
    layers = [s for s in (*reading.latest_layers(evidence), *began) if _is_matrix(s) and s.update_ratio is not None]
    large = [s for s in layers if not (s.update_ratio or 0.0) <= 1.0] or _grown(evidence)
    if not large:
        return []
    worst = max(large, key=lambda s: _finite_or_infinite(s.update_ratio))
    ratio = _finite_or_infinite(worst.update_ratio)
    divisor = ratio / WORST_RATIO if math.isfinite(ratio) else 1000.0
    return [
        Finding(
            rule="exploding_gradient",
            severity="hint" if _stood(evidence) and not _stopped(evidence) and not overshot else "error",
            seen=f"one step moves {reading.called(worst)} by {ratio:.3g} times its own size",
            measurements=(Measurement(name="update over weight", value=ratio, threshold=1.0),),
            cause="the gradient is too large for this learning rate",
            remedy=(None if math.isfinite(ratio) else kept_finite(evidence))
            or orthogonal_recurrence(evidence)
            or smaller_steps(evidence, divisor),
            source="own; healthy updates are about 1e-3 of the weight (TheDeepChecker, TOSEM 2022)",
            layers=tuple(dict.fromkeys(reading.names(large))),
        )
    ]


def _not_finite_at_once(evidence: Evidence) -> bool:
    """Whether loss or gradient of the very first step is not finite; a step that a loss scaler skipped does not count."""
    if evidence.steps:
        first = evidence.steps[0] if reading.started_at_zero(evidence) and not evidence.steps[0].skipped else None
    else:
        first = next(iter(evidence.rehearsal.steps), None) if evidence.rehearsal is not None else None
    return first is not None and not all(math.isfinite(x) for x in (first.loss, first.gradient_norm) if x is not None)


def _grown(evidence: Evidence) -> list[LayerStats]:
    """Layers that SGD moved by more than their size on the way to NaN: its step grew as the gradient did.

    By the first step's ratio and the norms since; at two finite steps at least, so that one spike, as of sqrt at 0, is none.
    """
    seen = evidence.steps or (evidence.rehearsal.steps if evidence.rehearsal is not None else ())
    norms = [s.gradient_norm for s in seen if s.gradient_norm is not None]
    finite = list(itertools.takewhile(math.isfinite, norms))
    settings = settings_of(evidence)
    if (
        settings is None
        or settings.name != "SGD"
        or settings.clip is not None
        or len(finite) in (0, len(norms))
        or not finite[0]
    ):
        return []
    late = sorted(finite[-5:])
    factor = late[-2] / finite[0] if len(late) > 1 else 0.0
    first = [s for s in first_layers(evidence) if _is_matrix(s) and s.update_ratio]
    return [replace(s, update_ratio=ratio) for s in first if (ratio := factor * (s.update_ratio or 0.0)) > 1.0]


def _nothing_learned(evidence: Evidence) -> bool:
    """Whether the loss has not fallen in what was watched; or every gradient is exactly zero now: nothing can be learned."""
    if not evidence.steps:
        return True
    if any(not math.isfinite(s.loss) and not s.skipped for s in evidence.steps):
        return True
    seen = len(reading.finite_steps(evidence)) >= 2 * reading.WINDOW_STEPS
    return _stopped(evidence) or (seen and not reading.has_learned(evidence))


def _stopped(evidence: Evidence) -> bool:
    """Whether every gradient is exactly zero at the last of three sampled steps or more."""
    now = [s.gradient_rms for s in reading.latest_layers(evidence) if s.gradient_rms is not None]
    return len(evidence.samples) >= 3 and bool(now) and not any(now)


def _stood(evidence: Evidence) -> bool:
    """Whether a run's loss is below its first in spite of its steps; with one step alone that is not known yet."""
    losses = [step.loss for step in evidence.steps if not step.skipped]
    if len(losses) < 2:
        return bool(losses) and math.isfinite(losses[0])
    recent = statistics.median(losses[1:][-5:])
    return all(map(math.isfinite, losses)) and recent < losses[0] and reading.trend(evidence) != "rising"


def _finite_or_infinite(ratio: float | None) -> float:
    """Read NaN as infinity, so that it sorts as the worst ratio."""
    return math.inf if ratio is None or math.isnan(ratio) else ratio


@rule(
    severities=("warning", "hint"),
    explains=("plateau", "underflow", "update_ratio", "cannot_overfit", "constant_output"),
    predicts=True,
)
def vanishing_gradient(evidence: Evidence) -> list[Finding]:
    """Gradients are too small to move the weights, in every layer or in the first ones.

    Fires: the largest gradient-to-weight ratio of all layers is below 1e-5; or the first layer's gradient is below 1e-4 and
        below 1e-3 of the last layer's. A hint under an optimizer that divides by the gradient's own size, as Adam does, unless
        a run of 100 steps is at chance; then its first step counts, too. Code `loss`: along three rehearsed updates and more
        the loss falls by less than a thousandth of itself at any length, though such steps replace the weights, and 50 steps
        do not change it by as much.
    Why: at a ratio of 1e-5 even a learning rate of 1 needs 1e5 steps. In a plain ReLU net all layers vanish together, so that
        the ratio of first to last, which is the usual check, is blind to it; under tanh and sigmoid the first layers fade.
    What fools it: loss scaling that the doctor was not told of, and a loss that is divided by a large number. Silent once the
        loss is below chance, where small gradients are success, and where a normalisation leaves nothing.
    Fix: kaiming_normal_ for ReLU, xavier_normal_ with gain 5/3 for tanh, zero biases; ReLU in place of sigmoid; or
        normalisation.
    Source: Zhang et al., AutoTrainer, ICSE 2021 (first layers); Glorot and Bengio, AISTATS 2010; own absolute threshold.
    """
    probe, chance = evidence.probe, reading.chance_loss(evidence)
    solved = probe is not None and chance is not None and not evidence.steps and probe.loss < 0.5 * chance
    if reading.has_learned(evidence) or solved or (evidence.steps and chance is None):
        return _deaf_loss(evidence)
    layers = _with_gradient(reading.latest_layers(evidence))
    stuck = _at_chance(evidence, chance)
    if stuck and not _fades(layers):  # what training did to it came to nothing
        layers = _with_gradient(_start_layers(evidence))
    if not _fades(layers) or reading.emptied_norms(evidence):  # no gradient comes back through what is constant
        return _deaf_loss(evidence)
    ratios = [(s.gradient_rms or 0.0) / (s.weight_rms or 1.0) for s in layers]
    first, last = layers[0].gradient_rms or 0.0, layers[-1].gradient_rms or 0.0
    together = max(ratios) < _TINY
    return [
        Finding(
            rule="vanishing_gradient",
            code="vanishing_gradient.everywhere" if together else "vanishing_gradient.first_layers",
            # Optimizers that divide by the gradient's own size do not mind its scale, as long as anything is learned.
            severity="hint" if reading.is_adaptive(evidence) and not stuck else "warning",
            seen="the gradient is tiny in every layer"
            if together
            else f"the gradient fades towards {reading.called(layers[0])}",
            measurements=(
                Measurement(name="largest gradient over weight", value=max(ratios), threshold=_TINY),
                Measurement(name="first over last layer", value=first / last if last else math.nan, threshold=1e-3),
                Measurement(name="gradient rms of the first layer", value=first, threshold=1e-4),
            ),
            cause="the signal shrinks on its way through the layers" if together else "each layer shrinks the gradient",
            remedy=drawn_for_signal(evidence, tuple(layers)),
            source="AutoTrainer, ICSE 2021; Glorot and Bengio, AISTATS 2010; own absolute threshold",
            layers=reading.names(layers) if together else (layers[0].name,),
        )
    ]


def _with_gradient(layers: tuple[LayerStats, ...]) -> list[LayerStats]:
    return [s for s in layers if s.gradient_rms is not None and s.weight_rms and _is_matrix(s)]


def _start_layers(evidence: Evidence) -> tuple[LayerStats, ...]:
    """Layers at the first step, of the run or of the probe."""
    if evidence.samples and evidence.samples[0].step == 1 and not evidence.samples[0].blind:
        return evidence.samples[0].layers
    return evidence.probe.layers if evidence.probe is not None and evidence.probe.at_start else ()


def _fades(layers: list[LayerStats]) -> bool:
    """Whether the gradient is tiny in every layer, or in the first beside the last."""
    if len(layers) < 2:
        return False
    first, last = layers[0].gradient_rms or 0.0, layers[-1].gradient_rms or 0.0
    return max((s.gradient_rms or 0.0) / (s.weight_rms or 1.0) for s in layers) < _TINY or (
        first < 1e-3 * last and first < 1e-4
    )


def _at_chance(evidence: Evidence, chance: float | None) -> bool:
    """Whether a run of a hundred steps or more is where knowing nothing is."""
    recent = reading.recent_loss(evidence)
    return chance is not None and recent is not None and reading.num_steps(evidence) >= 100 and recent >= 0.95 * chance


def _deaf_loss(evidence: Evidence) -> list[Finding]:
    """A loss that stays the same to a thousandth at steps of every length, those that replace the weights among them."""
    rehearsal = evidence.rehearsal
    critical = [step for _, step in rehearsal.critical] if rehearsal is not None else []
    if rehearsal is None or len(critical) < 3 or len(rehearsal.steps) < 50:
        return []
    falls = []
    for step in critical:
        moved = max((ratio for _, ratio in step.update_ratios if ratio is not None), default=0.0)
        if not (step.loss_before > 0 and math.isfinite(step.loss_before) and (step.multiple or 0.0) * moved > 1.0):
            return []
        falls.append((step.loss_before - step.lowest_loss) / step.loss_before)
    losses = [seen.loss for seen in rehearsal.reference]
    if not max(falls) < _DEAF or not abs(losses[-1] - losses[0]) < _DEAF * losses[0]:
        return []
    return [
        Finding(
            rule="vanishing_gradient",
            code="vanishing_gradient.loss",
            severity="warning",
            seen=f"along {len(critical)} updates, at every length up to replacing the weights, the loss falls by at most "
            f"{max(falls):.1g} of itself",
            measurements=(Measurement(name="largest fall over the loss", value=max(falls), threshold=_DEAF),),
            cause="the loss hardly depends on the outputs: they are divided by something large before it is taken",
            remedy="divide outputs by a temperature of 1 or less (similarities within [-1, 1] by 0.1), not by a large one; or "
            + larger_steps(evidence),
            source="own; followed in the rehearsal",
        )
    ]


@rule(severities=("warning",), predicts=True)
def underflow(evidence: Evidence) -> list[Finding]:
    """More than half of a layer's gradient rounds to zero in the precision it is kept in.

    Fires: the target precision rounds more than 50 % of the non-zero elements of a layer's weight gradient to zero.
    Why: float16 has no number between 0 and 6e-8. Below half, what is lost are the smallest elements, which hardly count;
        above, whole units stop learning.
    What fools it: a loss scaler that the probe was not told of.
    Fix: use bfloat16, or scale the loss (`torch.amp.GradScaler`).
    Source: Micikevicius et al., Mixed Precision Training, ICLR 2018, section 3.2; own share.
    """
    probe = evidence.probe
    lost = [s for s in (probe.layers if probe is not None else ()) if (s.underflow_fraction or 0.0) > 0.5]
    if probe is None or not lost:
        return []
    worst = max(lost, key=lambda s: s.underflow_fraction or 0.0)
    return [
        Finding(
            rule="underflow",
            severity="warning",
            seen=f"{probe.precision} rounds {worst.underflow_fraction:.0%} of the gradient of {reading.called(worst)} to zero",
            measurements=(
                Measurement(name=f"share lost in {worst.name}", value=worst.underflow_fraction or 0.0, threshold=0.5),
            ),
            cause=f"gradients are smaller than the smallest {probe.precision} number",
            remedy="use bfloat16, or scale the loss (torch.amp.GradScaler)",
            source="Micikevicius et al., Mixed Precision Training, ICLR 2018, section 3.2",
            layers=reading.names(lost),
        )
    ]


@rule(severities=("warning", "hint"), explains=("prediction_collapse", "constant_as_good", "plateau"))
def update_ratio(evidence: Evidence) -> list[Finding]:
    """The typical update is far from 1e-3 of the weight, or another rate did better.

    Fires: the median over the layers of the rms of a step over the rms of the weight is below 1e-5 or above 0.1. A warning
        where it is below 1e-5, was so at the first step, clipping leaves more than a hundredth, and the loss has fallen by less
        than 2 % in 100 steps and more; or where a rehearsal at another rate, in no more steps than the run took, came to less
        than half of the run's loss. A hint before a run whose verdict rests on such a rate. A warning with code `eps`, where
        eps is above 1e-5 and 100 times a typical gradient, and the loss falls along a thousand times each rehearsed update.
    Why: about 1e-3 is usual in nets that learn. The lower end is wide, because late epochs and fine-tuning are slow on
        purpose; hence a hint, too. What a rate does on the same batches from the same start is measured, whatever the ratio.
    What fools it: warm-up, the end of a schedule, fine-tuning, and layers that start at zero.
    Fix: the learning rate that is named: one that was tried, or one that the critical step asks for; by one ratio alone it is
        raised by 100 at most, and looked at again. Where clipping makes the steps small, the clip.
    Source: TheDeepChecker, TOSEM 2022 (1e-4 to 1e-1); the lower end widened for late epochs.
    """
    if (found := _swamped_by_eps(evidence) or _outdone_by_another_rate(evidence)) is not None:
        return [found]
    layers = reading.latest_layers(evidence) or first_layers(evidence)  # without a probe a rehearsal's first update tells
    ratios = [s.update_ratio for s in layers if s.update_ratio is not None and _is_matrix(s)]
    if not ratios or not all(math.isfinite(r) for r in ratios):
        return []
    middle = statistics.median(ratios)
    if 1e-5 <= middle <= 1e-1:
        return []
    # Clipped to nothing is the cause of such steps, and not the rate: the rule plateau tells.
    stands = middle < 1e-5 and _never_moved(evidence) and not reading.clipped_to_nothing(evidence)
    return [
        Finding(
            rule="update_ratio",
            code="update_ratio.small" if middle < 1e-5 else "update_ratio.large",
            severity="warning" if stands else "hint",
            seen=f"a step changes the typical layer by {middle:.1e} of its size; about 1e-3 is usual",
            measurements=(Measurement(name="update over weight", value=middle, threshold=1e-5 if middle < 1e-5 else 1e-1),),
            cause="the learning rate is far from what the gradients ask for",
            remedy=toward_usual(evidence, middle),
            source="TheDeepChecker, TOSEM 2022 ([1e-4, 1e-1]); lower end widened for late epochs",
        )
    ]


def _swamped_by_eps(evidence: Evidence) -> Finding | None:
    """Adam divides by the root of the squares plus eps: an eps far above the gradients makes it SGD with a rate of lr / eps."""
    eps, settings, probe = reading.facts(evidence).eps, settings_of(evidence), evidence.probe
    sizes = [s.gradient_rms for s in (probe.layers if probe is not None else ()) if s.gradient_rms and _is_matrix(s)]
    if eps is None or eps < SMALLEST_SWAMPING or not sizes or settings is None or not steps_round_to_nothing(evidence):
        return None
    size = statistics.median(sizes)
    if not size * SWAMPED < eps:
        return None
    return Finding(
        rule="update_ratio",
        code="update_ratio.eps",
        severity="warning",
        seen=f"eps={eps:g} is {eps / size:.2g} times a gradient of the typical layer, so steps are as much shorter than lr",
        measurements=(Measurement(name="eps over gradient", value=eps / size, threshold=SWAMPED),),
        cause="eps is far larger than what it is added to, the root of the gradients' squares",
        remedy=f"{settings.name}(..., eps=1e-8) in place of {eps:g}",
        source="Kingma and Ba, Adam, ICLR 2015, algorithm 1",
    )


def _outdone_by_another_rate(evidence: Evidence) -> Finding | None:
    """A rate that was tried and left the loop's own far behind; None where none did, or clipping makes the steps small."""
    better = outdone(evidence) if not reading.clipped_to_nothing(evidence) else None
    if better is None:
        return None
    small = better.scale > 1
    own = reading.recent_loss(evidence) if evidence.steps else better.own
    after = f"{reading.num_steps(evidence)} steps" if evidence.steps else f"{better.steps} rehearsed steps"
    return Finding(
        rule="update_ratio",
        code="update_ratio.small" if small else "update_ratio.large",
        severity="warning" if evidence.steps else "hint",
        seen=f"after {after} the loss is {own:.3g}; at {better.scale:.2g} times the learning rate, {better.steps} rehearsed "
        f"steps brought it to {better.last:.3g}",
        measurements=(
            Measurement(name="loss at the loop's own rate", value=own or math.inf, threshold=better.last),
            Measurement(name="better rate over the loop's own", value=better.scale, threshold=1.0),
        ),
        cause=f"the learning rate is too {'small' if small else 'large'}",
        remedy=larger_steps(evidence) if small else smaller_steps(evidence),
        source="own; rehearsed at both rates",
    )


def _never_moved(evidence: Evidence) -> bool:
    """Whether steps were tiny from the first one on, and the loss is where it began."""
    steps, recent = reading.finite_steps(evidence), reading.recent_loss(evidence)
    if recent is None or len(steps) < 100 or not reading.started_at_zero(evidence) or evidence.samples[0].step != 1:
        return False
    ratios = [s.update_ratio for s in evidence.samples[0].layers if s.update_ratio is not None and _is_matrix(s)]
    before = statistics.fmean(s.loss for s in steps[: reading.WINDOW_STEPS])
    return bool(ratios) and statistics.median(ratios) < 1e-5 and abs(recent - before) < 0.02 * abs(before)
