"""Layers that do not move in a run, and why, by what arrives at them. No rule."""

import math
import statistics

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.layer_stats import LayerStats
from trainability.doctor.rules.smaller_steps import larger_steps, replaced_at_first, smaller_steps, steps_round_to_nothing

NOT_WRITTEN = (
    "the optimizer gets a gradient that moves them by itself, and leaves them as they are: its step() writes to copies, or its "
    "settings make nothing of the gradient",
    "in step() write in place (p.add_(update, alpha=-lr)): p = p - lr * update binds a name and changes no parameter; and look "
    "at what eps, dampening or a mask leave of the update",
)
_CLEARED = (
    "gradients are cleared between the backward pass and the step",
    "optimizer.zero_grad() before loss.backward() or after optimizer.step(), and nothing between the two that clears gradients",
)
_HELD_BACK = (
    "the optimizer gets the gradient and makes no step of it any more: what it remembers or its settings hold it back",
    "look at what dampening, eps, or a count or a state that the optimizer keeps leave of the update",
)
_RESOLUTION = 2.0**-25  # of float32: half a unit in the last place of a number, over the number
_OF_SUMS = 1e-5  # what the order of a sum in float32 may change in its result
_CLEARLY = 10.0
_RECENT_STEPS = 20


def unmoved(evidence: Evidence, known: tuple[str, ...]) -> list[LayerStats]:
    """Layers that none of the last three sampled steps moved, nor any step between them as far as their size tells."""
    if are_gradients_cleared(evidence):
        return [s for s in evidence.samples[-1].layers if s.update_ratio == 0.0]
    if len(evidence.samples) < 3:
        return []
    last, moved = evidence.samples[-1].layers, [{s.name: s.update_ratio for s in each.layers} for each in evidence.samples[-3:]]
    still = [s for s in last if all(row.get(s.name) == 0.0 for row in moved) and f"{s.name}.weight" not in known]
    still = [s for s in still if not _is_below_resolution(evidence, s) and not _square_overflows(s)]
    return [s for s in still if not _moves_in_between(evidence, s)]


def are_gradients_cleared(evidence: Evidence) -> bool:
    """Whether gradients are gone or zero at every step, though there were some after the backward pass; one step tells."""
    ratios = [step.clip_ratio for step in evidence.steps if step.clip_ratio is not None and not step.skipped]
    moves = any(layer.update_ratio for sample in evidence.samples for layer in sample.layers)
    return bool(evidence.samples) and not moves and (not any(ratios) if ratios else reading.facts(evidence).cleared)


def _moves_in_between(evidence: Evidence, layer: LayerStats) -> bool:
    """Whether the weight has another size at one of the samples: an optimizer that writes at every tenth call, say."""
    sizes = [s.weight_rms for each in evidence.samples[-3:] for s in each.layers if s.name == layer.name and s.weight_rms]
    return bool(sizes) and max(sizes) - min(sizes) > _OF_SUMS * max(sizes)


def _is_below_resolution(evidence: Evidence, layer: LayerStats) -> bool:
    """Whether SGD's step is too small for float32 because hardly a gradient arrives: a symptom of what shrinks it."""
    settings = evidence.optimizer
    if settings is None or settings.name != "SGD" or not settings.lr or not layer.gradient_rms or not layer.weight_rms:
        return False
    return settings.lr * layer.gradient_rms < _RESOLUTION * layer.weight_rms


def _square_overflows(layer: LayerStats) -> bool:
    """Whether the gradient is so large that its square is infinite: Adam divides by that. A symptom of what makes it large."""
    return not layer.gradient_nonfinite and layer.gradient_rms is not None and math.isinf(layer.gradient_rms)


def why_unmoved(evidence: Evidence, layer: LayerStats) -> tuple[str, str, str]:
    """A word, cause and remedy, by what arrived at the layer at the last sampled step."""
    if are_gradients_cleared(evidence):
        return "gradient_lost", *_CLEARED
    if layer.gradient_rms is None:
        return "no_gradient", "the loss does not depend on it", f"use the result of {layer.name} in forward, or delete it"
    if attends_to_nothing(evidence, layer):
        return "zero_input", "all that it may attend to is padding", inverted_mask(layer.name)
    if layer.gradient_rms == 0.0:
        if layer.output_gradient_rms:
            return "zero_input", "the input of the layer is zero", _with_input(layer)
        if (step := reading.facts(evidence).flat_function) is not None:
            return "step_function", *flat_step(step)
        return "zero_gradient", "nothing comes back through what follows", _after(evidence, layer)
    if evidence.steps and evidence.steps[-1].lr == 0.0:
        return "lr_zero", "the learning rate is 0", "a schedule that does not end at 0 before the run does"
    if _is_enough(evidence, layer):
        moved = any(s.update_ratio for sample in evidence.samples for s in sample.layers if s.name == layer.name)
        cause, remedy = _HELD_BACK if moved else NOT_WRITTEN
        return "not_written", cause, remedy
    return (
        "gradient_lost",
        "the gradient is there after backward and gone, or too small for the number format, at the step",
        larger_steps(evidence)
        if steps_round_to_nothing(evidence)
        else "no zero_grad and no clipping to nothing between backward and step; weights in float32",
    )


def _is_enough(evidence: Evidence, layer: LayerStats) -> bool:
    """Whether the gradient that the optimizer is given, after clipping, moves a weight of float32 by itself, at this rate.

    Where nothing compares the gradient with that after backward (a clip ratio), it may be gone by then.
    """
    recent = evidence.steps[-_RECENT_STEPS:]
    ratios, rates = [s.clip_ratio for s in recent if s.clip_ratio is not None], [s.lr for s in recent if s.lr is not None]
    if not ratios or not rates or layer.unmoved_fraction is not None or not layer.weight_rms:
        return False
    given = statistics.median(ratios) * (layer.gradient_rms or 0.0)
    return statistics.median(rates) * given > _CLEARLY * _RESOLUTION * layer.weight_rms


def _with_input(layer: LayerStats) -> str:
    """What gives a layer an input that is not zero."""
    return inverted_mask(layer.name) if layer.kind == "attention" else f"look at what goes into {layer.name}"


def flat_step(step: str) -> tuple[str, str]:
    """Cause and remedy of weights in front of a step function: one whose gradient is that of its input."""
    name, _, called = step.partition("()")
    rounded = f"{name}(x)" if called else "its result"
    cause = f"the slope of {step} is zero: nothing comes back through it"
    return cause, f"x + ({rounded} - x).detach() in place of {step}, which hands the gradient straight through"


def _after(evidence: Evidence, layer: LayerStats) -> str:
    """What lets a gradient through again: a first step that was far too large has killed or saturated the units behind."""
    return smaller_steps(evidence) if replaced_at_first(evidence) else f"look at what follows {layer.name}"


def attends_to_nothing(evidence: Evidence, layer: LayerStats) -> bool:
    """Whether an attention put out zeros at the start and got no gradient, as where its mask leaves padding alone."""
    first = evidence.samples[0].layers if evidence.samples and evidence.samples[0].step == 1 else ()
    probed = evidence.probe.layers if evidence.probe is not None and evidence.probe.at_start else ()
    seen = [s for s in (*first, *probed) if s.name == layer.name and s.kind == "attention"]
    return bool(seen) and all(s.activation_rms == 0.0 and s.gradient_rms == 0.0 for s in seen)


def inverted_mask(name: str) -> str:
    """What gives an attention something to attend to."""
    return f"invert the mask of {name}: True in key_padding_mask and attn_mask means that a key is ignored"
