"""Gradients and updates of the layers, at the last sampled step or in the probe."""

import itertools
import math
import statistics
from dataclasses import replace

from trainability.doctor import reading
from trainability.doctor.best_constant import standing, still_falls
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.layer_stats import LayerStats
from trainability.doctor.rate_choice import outdone, settings_of
from trainability.doctor.rules.drawing import drawn_for_signal
from trainability.doctor.rules.finite import breaks_by_itself, kept_finite
from trainability.doctor.rules.rule import rule
from trainability.doctor.rules.smaller_steps import (
    WORST_RATIO,
    first_layers,
    larger_steps,
    orthogonal_recurrence,
    smaller_steps,
)
from trainability.doctor.rules.undone import undone_by_steps

_TINY = 1e-5  # gradient over weight
_THROWN = 1.2  # of the first losses after the first, over it
_BURST = 1000.0  # times the first loss
_DRAWN_TO_KEEP = 0.3  # rms of a weight times the root of its fan-in: 0.58 with PyTorch's default, 1.4 with He's scheme
DROWNED, _FEWEST_STEPS = 0.01, 100  # change of an output over that without padding; steps of a run that has not learned
_FEW_REHEARSED = 50  # steps; before that a constant loss says little
_DEAF = 1e-3  # fall of the loss over the loss


@rule(
    severities=("error", "warning", "hint"),
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

    Fires: the rms of a step is more than 1 times the rms of the weight, in any layer except normalisation; of a weight below
        0.3 over the root of its fan-in, the rms of a step is more than that. In a run whose loss has not fallen, or is twice
        that of a rehearsal at a smaller rate, the first sampled step and what was seen before it count too. A hint in a run
        whose loss is below its first one since, unless all its gradients are now zero, a smaller rate did that much better, or
        only one step was watched; a warning there where the first step moved most layers by more than their size, which leaves
        nothing of the initial weights, and the loss rose by a fifth. Under SGD, if the gradient becomes NaN: a layer's ratio at
        the first step times the growth of the norm until then, over at least two steps, or one at which the loss is a thousand
        times the first. Silent where the very first step is not finite, where loss or gradient is NaN though neither grew
        before, and under LBFGS while the loss does not rise.
    Why: gradient descent relies on the loss being nearly linear around the weights, and a step of ratio 1 leaves that region,
        whatever the depth or the loss; healthy updates are near 1e-3. Published limits on the norm alone (70, 1000) raise false
        alarms on wide healthy nets.
    What fools it: weights that start at or near zero on purpose, such as the last layer of a residual branch; a line search;
        and models of one layer, for which the linear picture holds at any distance. There the loss falls.
    Fix: the learning rate that the finding gives. Under SGD, where the rate is already below what the critical step allows,
        clip the gradient norm; make recurrent weights orthogonal where their gain is far above 1.
    Source: own threshold; healthy updates: TheDeepChecker, TOSEM 2022.
    """
    if _not_finite_at_once(evidence) or breaks_by_itself(evidence):
        return []  # a value that was not finite before any step
    # Steps that replaced the weights made them large, or killed the net: the ratio is small again, but nothing is learned.
    better = outdone(evidence) if evidence.steps else None
    overshot = better is not None and better.scale < 1
    replaced = _replaced_most(evidence)
    began = first_layers(evidence) if overshot or replaced or _nothing_learned(evidence) else ()
    layers = [s for s in (*reading.latest_layers(evidence), *began) if reading.is_matrix(s) and s.update_ratio is not None]
    large = [s for s in layers if not _of_drawn_size(s) <= 1.0] or _grown(evidence)
    if not large or (reading.is_searched(evidence) and not (overshot or replaced)):
        return []
    worst = max(large, key=lambda s: _finite_or_infinite(s.update_ratio))
    ratio = _finite_or_infinite(worst.update_ratio)
    divisor = ratio / WORST_RATIO if math.isfinite(ratio) else 1000.0
    return [
        Finding(
            rule="exploding_gradient",
            severity="error" if overshot or _stopped(evidence) or not _stood(evidence) else "warning" if replaced else "hint",
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


def _of_drawn_size(layer: LayerStats) -> float:
    """A step over the weight, or, of a weight that was drawn too small to keep the signal, over the least size that keeps it.

    A head that starts near zero on purpose, with its bias at the mean of the targets, has hardly anything to lose.
    """
    ratio, size = layer.update_ratio or 0.0, layer.weight_rms
    if not (layer.fan_in and size and math.isfinite(ratio) and math.isfinite(size)):
        return ratio
    return ratio * min(1.0, size * math.sqrt(layer.fan_in) / _DRAWN_TO_KEEP)


def _replaced_most(evidence: Evidence) -> bool:
    """Whether the first step moved most layers, at least two, by more than their size: nothing of the initial weights is left.

    Counts weights large enough to keep the signal; tables and small weights have little to lose.
    """
    first = evidence.samples[0].layers if evidence.samples and evidence.samples[0].step == 1 else ()
    sized = [s for s in first if s.fan_in and s.weight_rms and s.weight_rms * math.sqrt(s.fan_in) >= _DRAWN_TO_KEEP]
    ratios = [s.update_ratio for s in sized if s.update_ratio is not None]
    losses = [step.loss for step in evidence.steps[:6]]
    threw = len(losses) > 1 and max(losses[1:]) > _THROWN * losses[0]  # a line search moves far, and downhill
    return threw and len(ratios) > 1 and all(map(math.isfinite, ratios)) and statistics.median(ratios) > 1.0


def _not_finite_at_once(evidence: Evidence) -> bool:
    """Whether loss or gradient of the very first step is not finite; steps skipped by a loss scaler do not count.

    Asked of the run and of the rehearsal, whose first batch may come later in the run.
    """
    rehearsed = next(iter(evidence.rehearsal.steps), None) if evidence.rehearsal is not None else None
    if evidence.steps and rehearsed is not None and rehearsed.loss is not None and math.isnan(rehearsed.loss):
        return True
    if evidence.steps:
        first = evidence.steps[0] if reading.started_at_zero(evidence) and not evidence.steps[0].skipped else None
    else:
        first = rehearsed
    return first is not None and not all(math.isfinite(x) for x in (first.loss, first.gradient_norm) if x is not None)


def _grown(evidence: Evidence) -> list[LayerStats]:
    """Layers that SGD moved by more than their size before the NaN: its step grew with the gradient.

    From the first step's ratio and the norms since; over at least two finite steps, so that one spike (sqrt at 0) does not
    count, unless the loss has grown with it.
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
    late, losses = sorted(finite[-5:]), [s.loss for s in seen if s.loss is not None and math.isfinite(s.loss)]
    has_burst = bool(losses) and abs(losses[-1]) > _BURST * abs(losses[0])
    factor = late[-1 if has_burst else -2] / finite[0] if len(late) > 1 else 0.0
    first = [s for s in first_layers(evidence) if reading.is_matrix(s) and s.update_ratio]
    return [replace(s, update_ratio=ratio) for s in first if (ratio := factor * (s.update_ratio or 0.0)) > 1.0]


def _nothing_learned(evidence: Evidence) -> bool:
    """Whether the watched loss has not fallen, or every gradient is now exactly zero, so that nothing can be learned."""
    if not evidence.steps:
        return True
    if any(not math.isfinite(s.loss) and not s.skipped for s in evidence.steps):
        return True
    seen = len(evidence.finite_steps) >= 2 * reading.WINDOW_STEPS
    return _stopped(evidence) or (seen and not reading.has_learned(evidence))


def _stopped(evidence: Evidence) -> bool:
    """Whether every gradient is exactly zero at the last of three sampled steps or more."""
    now = [s.gradient_rms for s in reading.latest_layers(evidence) if s.gradient_rms is not None]
    return len(evidence.samples) >= 3 and bool(now) and not any(now)


def _stood(evidence: Evidence) -> bool:
    """Whether a run's loss is below its first in spite of its steps; not known after a single step."""
    losses = [step.loss for step in evidence.steps if not step.skipped]
    if len(losses) < 2:
        return bool(losses) and math.isfinite(losses[0])
    recent = statistics.median(losses[1:][-5:])
    return all(map(math.isfinite, losses)) and recent < losses[0] and reading.trend(evidence) != "rising"


def _finite_or_infinite(ratio: float | None) -> float:
    """Treat NaN as infinity, so that it sorts as the worst ratio."""
    return math.inf if ratio is None or math.isnan(ratio) else ratio


@rule(
    severities=("warning", "hint"),
    explains=(
        *("plateau", "underflow", "update_ratio", "cannot_overfit", "constant_output", "prediction_collapse"),
        "constant_as_good",
    ),
    predicts=True,
)
def vanishing_gradient(evidence: Evidence) -> list[Finding]:
    """Gradients are too small to move the weights, in every layer or in the first ones.

    Fires: the largest gradient-to-weight ratio of all layers is below 1e-5; or the first layer's gradient is below 1e-4, and
        below 1e-3 of the last layer's. A hint under an optimizer that divides by the gradient's own size, such as Adam, unless
        a run of 100 steps is at chance; then its first step counts too. Code `loss`: along three or more rehearsed updates the
        loss falls by less than a thousandth of itself at any length, though such steps replace the weights, and 50 steps change
        it by less than that. Code `padding`: in sequences that end in padding, the words change a recurrent model's output by
        less than a hundredth of what they do when the padding is in front, and 50 rehearsed steps or 100 steps of the run have
        not learned (a hint if fewer could be rehearsed); also in a watched run where half of the steps given to a recurrent
        layer are zeros after the words, and its input weights had a gradient of less than 1e-4 of its recurrent weights'.
        Codes: `first_layers`, or `everywhere`.
    Why: at a ratio of 1e-5 even a learning rate of 1 needs 1e5 steps. In a plain ReLU net all layers vanish together, so the
        usual check, the ratio of first to last layer, does not see it; with tanh and sigmoid the first layers vanish first.
    What fools it: loss scaling that the doctor does not know of, and a loss that is divided by a large number. Silent once the
        loss is below chance, where small gradients mean success, unless the last evaluation predicts few classes or the loss is
        at the best constant answer's cost; and where a normalisation outputs zeros.
    Fix: kaiming_normal_ for ReLU, xavier_normal_ with gain 5/3 for tanh, zero biases; ReLU instead of sigmoid; or
        normalisation.
    Source: Zhang et al., AutoTrainer, ICSE 2021 (first layers); Glorot and Bengio, AISTATS 2010; own absolute threshold.
    """
    if padded := _behind_padding(evidence):
        return padded
    probe, chance = evidence.probe, reading.chance_loss(evidence)
    solved = probe is not None and chance is not None and not evidence.steps and probe.loss < 0.5 * chance
    collapsed = reading.predictions_collapsed(evidence)
    at = standing(evidence)
    known = chance is not None or at is not None
    constant = at is not None and at.is_no_better and not still_falls(evidence)  # even if the loss has come down to that cost
    if (reading.has_learned(evidence) and not (collapsed or constant)) or solved or (evidence.steps and not known):
        return _deaf_loss(evidence)
    layers = _with_gradient(reading.latest_layers(evidence))
    stuck = collapsed or _at_chance(evidence, chance) or (at is not None and at.is_no_better)
    if stuck and not _fades(layers):  # what training did to it had no effect
        layers = _with_gradient(_start_layers(evidence))
    is_constant = reading.emptied_norms(evidence) or reading.facts(evidence).pooled_norm
    if not _fades(layers) or is_constant:  # nothing constant passes a gradient back
        return _deaf_loss(evidence)
    if not faded_at_start(evidence) and undone_by_steps(evidence) is not None:
        return []  # steps that were too large are the cause
    ratios = [(s.gradient_rms or 0.0) / (s.weight_rms or 1.0) for s in layers]
    first, last = layers[0].gradient_rms or 0.0, layers[-1].gradient_rms or 0.0
    together = max(ratios) < _TINY
    return [
        Finding(
            rule="vanishing_gradient",
            code="vanishing_gradient.everywhere" if together else "vanishing_gradient.first_layers",
            # Optimizers that divide by the gradient's size are insensitive to its scale, as long as anything is learned.
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
    """Layers with weights and a gradient; where some weights are zero, without those that get none through them yet."""
    known = [s for s in layers if s.gradient_rms is not None and reading.is_matrix(s)]
    waits = any(s.weight_rms == 0.0 for s in known)
    return [s for s in known if s.weight_rms and not (waits and s.gradient_rms == 0.0)]


def _start_layers(evidence: Evidence) -> tuple[LayerStats, ...]:
    """Layers at the first step of the run, or in the probe."""
    if evidence.samples and evidence.samples[0].step == 1 and not evidence.samples[0].blind:
        return evidence.samples[0].layers
    return evidence.probe.layers if evidence.probe is not None and evidence.probe.at_start else ()


def _fades(layers: list[LayerStats]) -> bool:
    """Whether the gradient is tiny in every layer, or in the first relative to the last."""
    if len(layers) < 2:
        return False
    first, last = layers[0].gradient_rms or 0.0, layers[-1].gradient_rms or 0.0
    return max((s.gradient_rms or 0.0) / (s.weight_rms or 1.0) for s in layers) < _TINY or (
        first < 1e-3 * last and first < 1e-4
    )


def faded_at_start(evidence: Evidence) -> bool:
    """Whether almost no gradient reached the first layer before the first step."""
    return _fades(_with_gradient(_start_layers(evidence)))


def _at_chance(evidence: Evidence, chance: float | None) -> bool:
    """Whether a run of 100 steps or more is at chance."""
    recent = reading.recent_loss(evidence)
    return chance is not None and recent is not None and reading.num_steps(evidence) >= 100 and recent >= 0.95 * chance


def stays_at_start(evidence: Evidence) -> tuple[bool, bool]:
    """Whether a run or a rehearsal has not learned, and whether a rehearsal was too short to show it."""
    if evidence.steps:
        stays = reading.num_steps(evidence) >= _FEWEST_STEPS and not reading.has_learned(evidence)
    else:
        stays = reading.stands_still(evidence)
    tried = evidence.rehearsal.reference if evidence.rehearsal is not None and not evidence.steps else ()
    # The few steps that a slow program had time for show little, and unmoved weights say nothing about their rate.
    is_short = len(tried) > 1 and tried[-1].step < _FEW_REHEARSED and tried[-1].loss > 0.9 * tried[0].loss
    return stays, is_short


def _behind_padding(evidence: Evidence) -> list[Finding]:
    """A recurrent layer that reads so much padding that it forgets the words before it."""
    facts = reading.facts(evidence)
    if facts.drowned is not None and facts.drowned < DROWNED:
        seen = f"if padding follows, a sequence's words change the output by {facts.drowned:.1g} of what they change it without"
        measured = Measurement(
            name="change with padding after the words over that without", value=facts.drowned, threshold=DROWNED
        )
        how = "own: words replaced"
    elif facts.padded_layer is not None:
        layer, padded = facts.padded_layer
        seen = (
            f"almost no gradient reaches the words that {layer} reads: {100 * padded:.0f} % of the steps are zeros after them"
        )
        measured = Measurement(name="share of the steps that are padding", value=padded, threshold=0.5)
        how = "own: gradients of the first step"
    else:
        return []
    stays, is_short = stays_at_start(evidence)
    if not (stays or is_short):
        return []
    return [
        Finding(
            rule="vanishing_gradient",
            code="vanishing_gradient.padding",
            severity="warning" if stays else "hint",
            seen=seen,
            measurements=(measured,),
            cause="the last step's output is used, after the recurrent layer has read padding for many steps",
            remedy="torch.nn.utils.rnn.pack_padded_sequence(..., lengths, batch_first=True, enforce_sorted=False) and the last "
            "hidden state; or the output at each sequence's own last word",
            source=f"PyTorch, torch.nn.utils.rnn.pack_padded_sequence; {how}",
            explains=("untrained_parameter", "unmoved_parameter"),
        )
    ]


def _deaf_loss(evidence: Evidence) -> list[Finding]:
    """A loss that stays the same to a thousandth for steps of any length, even those that replace the weights."""
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
            seen=f"along {len(critical)} updates, at any length up to replacing the weights, the loss falls by at most "
            f"{max(falls):.1g} of itself",
            measurements=(Measurement(name="largest fall over the loss", value=max(falls), threshold=_DEAF),),
            cause="the loss hardly depends on the outputs: they are divided by a large number first",
            remedy="divide outputs by a temperature of 1 or less (similarities in [-1, 1] by 0.1), not by a large one; or "
            + larger_steps(evidence),
            source="own; followed in the rehearsal",
        )
    ]
