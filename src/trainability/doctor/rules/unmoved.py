"""Layers that do not move in a run, and why, by what arrives at them. No rule."""

from trainability.doctor.evidence import Evidence
from trainability.doctor.layer_stats import LayerStats
from trainability.doctor.rules.smaller_steps import larger_steps, replaced_at_first, smaller_steps, steps_round_to_nothing

_RESOLUTION = 2.0**-25  # of float32: half a unit in the last place of a number, over the number


def unmoved(evidence: Evidence, known: tuple[str, ...]) -> list[LayerStats]:
    """Layers whose weight is the same at each of the last three sampled steps."""
    if len(evidence.samples) < 3:
        return []
    last, moved = evidence.samples[-1].layers, [{s.name: s.update_ratio for s in each.layers} for each in evidence.samples[-3:]]
    still = [s for s in last if all(row.get(s.name) == 0.0 for row in moved) and f"{s.name}.weight" not in known]
    return [s for s in still if not _is_below_resolution(evidence, s)]


def _is_below_resolution(evidence: Evidence, layer: LayerStats) -> bool:
    """Whether SGD's step is too small for float32 because hardly a gradient arrives: a symptom of what shrinks it."""
    settings = evidence.optimizer
    if settings is None or settings.name != "SGD" or not settings.lr or not layer.gradient_rms or not layer.weight_rms:
        return False
    return settings.lr * layer.gradient_rms < _RESOLUTION * layer.weight_rms


def why_unmoved(evidence: Evidence, layer: LayerStats) -> tuple[str, str, str]:
    """A word, cause and remedy, by what arrived at the layer at the last sampled step."""
    if layer.gradient_rms is None:
        return "no_gradient", "the loss does not depend on it", f"use the result of {layer.name} in forward, or delete it"
    if attends_to_nothing(evidence, layer):
        return "zero_input", "all that it may attend to is padding", inverted_mask(layer.name)
    if layer.gradient_rms == 0.0:
        if layer.output_gradient_rms:
            return "zero_input", "the input of the layer is zero", _with_input(layer)
        return "zero_gradient", "nothing comes back through what follows", _after(evidence, layer)
    if evidence.steps and evidence.steps[-1].lr == 0.0:
        return "lr_zero", "the learning rate is 0", "a schedule that does not end at 0 before the run does"
    return (
        "gradient_lost",
        "the gradient is there after backward and gone, or too small for the number format, at the step",
        larger_steps(evidence)
        if steps_round_to_nothing(evidence)
        else "no zero_grad and no clipping to nothing between backward and step; weights in float32",
    )


def _with_input(layer: LayerStats) -> str:
    """What gives a layer an input that is not zero."""
    return inverted_mask(layer.name) if layer.kind == "attention" else f"look at what goes into {layer.name}"


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
