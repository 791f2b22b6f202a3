"""Layers that do not move in a run, with the reason, from the gradient that they receive. No rule."""

import math
import statistics
from collections.abc import Sequence

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.layer_stats import LayerStats
from trainability.doctor.rules.smaller_steps import larger_steps, replaced_at_first, smaller_steps, steps_round_to_nothing

NOT_WRITTEN = (
    "the optimizer gets a gradient that is large enough to move them, and leaves them unchanged: its step() writes to "
    "copies, or its settings suppress the gradient",
    "in step(), write in place (p.add_(update, alpha=-lr)): p = p - lr * update binds a name and changes no parameter; and "
    "check how much of the update eps, dampening or a mask leaves",
)
_CLEARED = (
    "gradients are cleared between the backward pass and the step",
    "call optimizer.zero_grad() before loss.backward() or after optimizer.step(), and clear no gradients between the two",
)
_HELD_BACK = (
    "the optimizer gets the gradient and no longer makes a step: its state or its settings suppress it",
    "check how much of the update dampening, eps, or a count or state of the optimizer leaves",
)
_RESOLUTION = 2.0**-25  # float32: half a unit in the last place, over the number
_OF_SUMS = 1e-5  # relative change that the order of a float32 sum may cause
_CLEARLY = 10.0
_RECENT_STEPS = 20
_FEWEST_STEPS = 100  # of a run that has not learned
_SPENT = 1e-4  # of the first loss


def unmoved(evidence: Evidence, known: tuple[str, ...]) -> list[LayerStats]:
    """Layers that did not move at the last three sampled steps, nor, judging by their size, between them."""
    if are_gradients_cleared(evidence):
        return [s for s in evidence.samples[-1].layers if s.update_ratio == 0.0]
    if len(evidence.samples) < 3:
        return []
    last, moved = evidence.samples[-1].layers, [{s.name: s.update_ratio for s in each.layers} for each in evidence.samples[-3:]]
    still = [s for s in last if all(row.get(s.name) == 0.0 for row in moved) and f"{s.name}.weight" not in known]
    still = [s for s in still if not _is_below_resolution(evidence, s) and not _square_overflows(s)]
    return [s for s in still if not _moves_in_between(evidence, s)]


def are_gradients_cleared(evidence: Evidence) -> bool:
    """Whether gradients are gone or zero at every step, though the backward pass gave some; one step is enough."""
    ratios = [step.clip_ratio for step in evidence.steps if step.clip_ratio is not None and not step.skipped]
    moves = any(layer.update_ratio for sample in evidence.samples for layer in sample.layers)
    return bool(evidence.samples) and not moves and (not any(ratios) if ratios else reading.facts(evidence).cleared)


def _moves_in_between(evidence: Evidence, layer: LayerStats) -> bool:
    """Whether the weight has another size at one of the samples, as with an optimizer that writes at every tenth call."""
    sizes = [s.weight_rms for each in evidence.samples[-3:] for s in each.layers if s.name == layer.name and s.weight_rms]
    return bool(sizes) and max(sizes) - min(sizes) > _OF_SUMS * max(sizes)


def _is_below_resolution(evidence: Evidence, layer: LayerStats) -> bool:
    """Whether SGD's step is too small for float32 because the gradient is tiny: a symptom of another cause."""
    settings = evidence.optimizer
    if settings is None or settings.name != "SGD" or not settings.lr or not layer.gradient_rms or not layer.weight_rms:
        return False
    return settings.lr * layer.gradient_rms < _RESOLUTION * layer.weight_rms


def _square_overflows(layer: LayerStats) -> bool:
    """Whether the gradient's square, by which Adam divides, is infinite: a symptom of another cause."""
    return not layer.gradient_nonfinite and layer.gradient_rms is not None and math.isinf(layer.gradient_rms)


def why_unmoved(evidence: Evidence, layer: LayerStats) -> tuple[str, str, str]:
    """A word, cause and remedy, from the gradient at the layer at the last sampled step."""
    if are_gradients_cleared(evidence):
        return "gradient_lost", *_CLEARED
    if layer.gradient_rms is None:
        return "no_gradient", "the loss does not depend on it", f"use the result of {layer.name} in forward, or delete it"
    if attends_to_nothing(evidence, layer):
        return "zero_input", "it may attend to padding only", inverted_mask(layer.name)
    if layer.gradient_rms == 0.0:
        if layer.output_gradient_rms:
            return "zero_input", "the input of the layer is zero", _with_input(layer)
        if (step := reading.facts(evidence).flat_function) is not None:
            return "step_function", *flat_step(step)
        return "zero_gradient", "no gradient comes back through the following layers", _after(evidence, layer)
    if evidence.steps and evidence.steps[-1].lr == 0.0:
        return "lr_zero", "the learning rate is 0", "use a schedule that does not reach 0 before the end of the run"
    if _is_enough(evidence, layer):
        moved = any(s.update_ratio for sample in evidence.samples for s in sample.layers if s.name == layer.name)
        cause, remedy = _HELD_BACK if moved else NOT_WRITTEN
        return "not_written", cause, remedy
    return (
        "gradient_lost",
        "the gradient is there after backward, but at the step it is gone or too small for the number format",
        larger_steps(evidence)
        if steps_round_to_nothing(evidence)
        else "no zero_grad and no clipping to almost zero between backward and step; keep weights in float32",
    )


def _is_enough(evidence: Evidence, layer: LayerStats) -> bool:
    """Whether the optimizer's gradient, after clipping, is large enough to move a float32 weight at this rate.

    Without a comparison with the gradient after backward (a clip ratio), it may be gone by then.
    """
    recent = evidence.steps[-_RECENT_STEPS:]
    ratios, rates = [s.clip_ratio for s in recent if s.clip_ratio is not None], [s.lr for s in recent if s.lr is not None]
    if not ratios or not rates or layer.unmoved_fraction is not None or not layer.weight_rms:
        return False
    given = statistics.median(ratios) * (layer.gradient_rms or 0.0)
    return statistics.median(rates) * given > _CLEARLY * _RESOLUTION * layer.weight_rms


def _with_input(layer: LayerStats) -> str:
    """How to give a layer an input that is not zero."""
    return inverted_mask(layer.name) if layer.kind == "attention" else f"check the input of {layer.name}"


def flat_step(step: str) -> tuple[str, str]:
    """Cause and remedy for weights before a step function: a straight-through gradient."""
    name, _, called = step.partition("()")
    rounded = f"{name}(x)" if called else "its result"
    cause = f"the slope of {step} is zero: no gradient comes back through it"
    return cause, f"x + ({rounded} - x).detach() instead of {step}, which passes the gradient straight through"


def is_at_weight_zero(evidence: Evidence, still: Sequence[LayerStats]) -> bool:
    """Whether a run learns with the other layers, and the loss weights what these make by exactly zero, their last output, too.

    So does a part that is faded in later. Behind units that are dead the next layer's output has a gradient.
    """
    return reading.has_learned(evidence) and all(s.gradient_rms == 0.0 and s.output_gradient_rms == 0.0 for s in still)


def is_spent(evidence: Evidence) -> bool:
    """Whether almost nothing is left of the first loss: L-BFGS gets there in a few steps, and then stops."""
    losses = [step.loss for step in evidence.finite_steps]
    return len(losses) > 1 and 0 <= losses[-1] < _SPENT * losses[0]


def are_most(evidence: Evidence, still: Sequence[LayerStats]) -> bool:
    """Whether a run that has not learned leaves half of its weights without a gradient, too many for another phase's head."""
    weights = [s for s in evidence.samples[-1].layers if reading.is_matrix(s) and s.update_ratio is not None]
    enough = reading.num_steps(evidence) >= _FEWEST_STEPS and not reading.has_learned(evidence)
    return enough and 2 * len([s for s in still if s.gradient_rms is None]) >= len(weights)


def _after(evidence: Evidence, layer: LayerStats) -> str:
    """How to let a gradient through again: a far too large first step may have killed or saturated the following units."""
    return smaller_steps(evidence) if replaced_at_first(evidence) else f"check the layers that follow {layer.name}"


def attends_to_nothing(evidence: Evidence, layer: LayerStats) -> bool:
    """Whether an attention output zeros at the start and got no gradient, as when its mask leaves only padding."""
    first = evidence.samples[0].layers if evidence.samples and evidence.samples[0].step == 1 else ()
    probed = evidence.probe.layers if evidence.probe is not None and evidence.probe.at_start else ()
    seen = [s for s in (*first, *probed) if s.name == layer.name and s.kind == "attention"]
    return bool(seen) and all(s.activation_rms == 0.0 and s.gradient_rms == 0.0 for s in seen)


def inverted_mask(name: str) -> str:
    """How to give an attention something to attend to."""
    return f"invert the mask of {name}: True in key_padding_mask and attn_mask means that a key is ignored"
