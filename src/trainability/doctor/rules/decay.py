"""Weight decay that is stronger than the gradient: before a run, and in weights that it has shrunk to nothing. No rule."""

import itertools
import math
import statistics

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence, LayerStats, OptimizerSettings
from trainability.doctor.finding import Finding, Measurement
from trainability.doctor.layer_table import number

_USUAL_DECAY = 1e-4  # as part of the gradient
_STRONG_DECAY, _OUTPULLED = 0.05, 3.0
_AS_HARD, _BACK = 1.0, 0.2  # pull of a decay that has turned a fall of the loss; of that fall
_MOST, _GENTLE = 0.5, 0.1  # of the loss; of the gradient, which a penalty may well be
_EMPTIED, _NOTHING = 0.01, 1e-3  # of the weight at first; where a usual decay is told, too
_MUCH, _FAR_BELOW = 0.1, 0.5  # of the best constant answer's cost; of the loss with decay
_STANDS, _ABOVE, _FEWEST_STEPS = 0.97, 0.3, 50  # of the loss at half of the steps; of the first loss


def smaller_decay(evidence: Evidence, settings: OptimizerSettings) -> float:
    """A tenth of the weight decay, or less: as much as removes at most a third of a weight in the whole run.

    Over a run of n steps weights shrink by exp(-n lr decay / (1 - momentum)). Adam divides decay that is part of the gradient
    by the gradient's size; a usual value is then all that can be proposed.
    """
    decay, steps = (settings.weight_decay or 0.0) / 10, settings.planned_steps or reading.num_steps(evidence)
    if _is_divided(evidence, settings):
        return min(decay, _USUAL_DECAY)
    rate = settings.lr / (1 - min(settings.momentum or 0.0, 0.999))
    return min(decay, 0.4 / (steps * rate)) if steps and rate else decay


def is_strong(ratio: float, share: float) -> bool:
    """Whether a penalty is most of the loss, and of its gradient."""
    return ratio >= _OUTPULLED and share >= _MOST


def of_a_penalty(ratio: float, share: float) -> Finding:
    """A term of the loss that does what weight decay does."""
    return Finding(
        rule="weights_decayed",
        code="weights_decayed.penalty",
        severity="warning",
        seen=f"{100 * share:.0f} % of the loss is a penalty on the weights, which pulls {number(ratio)} times as hard on "
        "the typical weight as the rest of the loss",
        measurements=(
            Measurement(name="pull of the penalty over the gradient of the rest", value=ratio, threshold=_OUTPULLED),
            Measurement(name="share of the loss", value=share, threshold=_MOST),
        ),
        cause="the factor of the penalty is too large: it pulls the weights to zero, whatever the data want",
        remedy=f"multiply its factor by {10 ** math.floor(math.log10(_GENTLE / ratio)):g}",
        source="Krogh and Hertz, A Simple Weight Decay Can Improve Generalization, NeurIPS 1991; gradients compared",
    )


def costs(evidence: Evidence, settings: OptimizerSettings) -> list[Finding]:
    """Whether a loop comes to half of its loss without its decay, on examples that it does not train on."""
    tried = evidence.rehearsal.decay_tried if evidence.rehearsal is not None else None
    if tried is None or evidence.steps or tried.constant_loss is None or not tried.loss > _MUCH * tried.constant_loss:
        return []
    if not tried.without < _FAR_BELOW * tried.loss:
        return []
    decay = settings.weight_decay or 0.0
    return [
        Finding(
            rule="weights_decayed",
            code="weights_decayed.held_out",
            severity="warning",
            seen=f"weight decay takes {100 * tried.share:.2g} % of each weight at every step; after {tried.steps} steps the "
            f"loss on examples that are not trained on is {tried.loss:.3g} with it, and {tried.without:.3g} without it",
            measurements=(
                Measurement(
                    name="loss without decay over that with it", value=tried.without / tried.loss, threshold=_FAR_BELOW
                ),
                Measurement(name="weight decay", value=decay),
            ),
            cause=f"within {math.ceil(1 / tried.share)} steps decay takes two thirds of a weight that no gradient holds",
            remedy=f"{settings.name}(..., weight_decay={smaller_decay(evidence, settings):.1g}) in place of {decay:g}",
            source="own; Decoupled Weight Decay Regularization, ICLR 2019",
        )
    ]


def outpulled(evidence: Evidence, settings: OptimizerSettings) -> list[Finding]:
    """Whether decay is stronger than the gradient before the first step, where the loss does not fall then."""
    decay, turned = settings.weight_decay or 0.0, _is_divided(evidence, settings) and _rehearsal_turned(evidence)
    if decay < _STRONG_DECAY or not (
        turned or (_watched_stands(evidence) if evidence.steps else _tried_stands(evidence, settings))
    ):
        return []
    # Adam's step is about the rate for each element; decoupled decay is added to the step, not to the gradient.
    pulls = [
        decay * s.weight_rms / (1.0 if settings.name == "AdamW" else s.gradient_rms)
        for s in _layers_at_start(evidence)
        if s.kind != "norm" and s.weight_rms and s.gradient_rms
    ]
    limit = _AS_HARD if turned else _OUTPULLED
    if not pulls or statistics.median(pulls) < limit:
        return []
    return [
        Finding(
            rule="weights_decayed",
            code="weights_decayed.outpulled",
            severity="warning",
            seen=f"weight decay pulls {number(statistics.median(pulls))} times as hard on the typical weight as the gradient "
            "of the loss",
            measurements=(
                Measurement(name="pull of the decay over the gradient's", value=statistics.median(pulls), threshold=limit),
                Measurement(name="weight decay", value=decay, threshold=_STRONG_DECAY),
            ),
            cause="weight decay pulls faster than the gradient pushes",
            remedy=f"{settings.name}(..., weight_decay={_proposed(evidence, settings, statistics.median(pulls)):.1g})",
            source="own; Decoupled Weight Decay Regularization, ICLR 2019",
        )
    ]


def is_emptied(evidence: Evidence, settings: OptimizerSettings, left: float) -> bool:
    """Whether decay has left almost nothing of the typical weight, and the loss no longer falls.

    Args:
        evidence: of a run.
        settings: of its optimizer.
        left: of the typical weight, over what it was at first.
    """
    losses = [step.loss for step in evidence.finite_steps]
    part = len(losses) // 4
    if (
        _are_normalised(evidence)
        or left >= _EMPTIED
        or ((settings.weight_decay or 0.0) < _STRONG_DECAY and left >= _NOTHING)
        or not _is_divided(evidence, settings)
    ):
        return False
    return part >= _FEWEST_STEPS and _stands(
        statistics.fmean(losses[part : 2 * part]), statistics.fmean(losses[-part:]), losses[0]
    )


def _layers_at_start(evidence: Evidence) -> tuple[LayerStats, ...]:
    if evidence.probe is not None and evidence.probe.at_start:
        return evidence.probe.layers
    return evidence.samples[0].layers if evidence.samples and evidence.samples[0].step <= 1 else ()


def _watched_stands(evidence: Evidence) -> bool:
    return len(evidence.finite_steps) >= _FEWEST_STEPS and not reading.has_learned(evidence)


def _tried_stands(evidence: Evidence, settings: OptimizerSettings) -> bool:
    tried = [seen.loss for seen in evidence.rehearsal.reference] if evidence.rehearsal is not None else []
    if not tried or tried[-1] < 0.9 * tried[0]:
        return bool(tried) and _is_divided(evidence, settings) and _rehearsal_stands(evidence)
    return True


def _are_normalised(evidence: Evidence) -> bool:
    """Whether most layers are directly followed by a normalisation, so that the size of their weights does not matter."""
    kinds = [layer.kind for layer in reading.latest_layers(evidence)]
    behind = [after == "norm" for kind, after in itertools.zip_longest(kinds, kinds[1:]) if kind != "norm"]
    return 2 * sum(behind) > len(behind)


def _proposed(evidence: Evidence, settings: OptimizerSettings, pull: float) -> float:
    decay = settings.weight_decay or 0.0
    return _USUAL_DECAY if _is_divided(evidence, settings) else min(decay / 10, decay / pull / 10)


def _is_divided(evidence: Evidence, settings: OptimizerSettings) -> bool:
    """Whether decay is part of the gradient, and the optimizer divides by that gradient's size."""
    return reading.is_adaptive(evidence) and settings.name != "AdamW"


def _rehearsal_stands(evidence: Evidence) -> bool:
    looks = evidence.rehearsal.reference if evidence.rehearsal is not None else ()
    if not looks or looks[-1].step < _FEWEST_STEPS:
        return False
    half = next(look for look in looks if 2 * look.step >= looks[-1].step)
    return _stands(half.loss, looks[-1].loss, looks[0].loss)


def _rehearsal_turned(evidence: Evidence) -> bool:
    """Whether the rehearsed loss has fallen, and come back part of the way, as gradients became smaller than the decay."""
    looks = evidence.rehearsal.reference if evidence.rehearsal is not None else ()
    if not looks or looks[-1].step < _FEWEST_STEPS:
        return False
    first, last, lowest = looks[0].loss, looks[-1].loss, min(look.loss for look in looks)
    return last > _ABOVE * first and last - lowest > _BACK * (first - lowest) > 0


def _stands(before: float, now: float, first: float) -> bool:
    return now >= _STANDS * before and now > _ABOVE * first
