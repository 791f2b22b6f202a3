"""One row per layer of a probe: the closed form beside what was measured."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.evidence import OptimizerSettings
from trainability.doctor.layer_stats import LayerStats
from trainability.doctor.measure import statistics
from trainability.doctor.measure.following import activations_by_layer
from trainability.doctor.measure.hooks import Watch, activation_fields
from trainability.doctor.measure.layers import shown_name
from trainability.doctor.theory import signal
from trainability.doctor.theory.band import BUDGET_HIGH
from trainability.doctor.theory.propagation import Prediction
from trainability.doctor.theory.trace import Trace

# Optimizers whose first step is the learning rate itself: they divide by the gradient's own size. That of others (Adadelta,
# RMSprop, Muon) is not predicted.
_UNIT_STEPS = ("Adam", "AdamW", "Adamax", "NAdam", "RAdam", "Lion")


def growth_facts(
    model: nn.Module,
    prediction: Prediction | None,
    settings: OptimizerSettings | None,
    batch_size: int,
    num_classes: int,
) -> tuple[float, dict[str, float], float | None]:
    """Gradient norm, relative growth per layer, and the plateau that follows from it where its formula applies."""
    gradients = [statistics.local(p.grad).float() for p in model.parameters() if p.grad is not None]
    norm = float(nn.utils.get_total_norm(gradients))
    rectified = prediction is not None and {layer.activation for layer in prediction.layers} <= {
        "relu",
        "leaky_relu",
        None,
    }
    if prediction is None or prediction.structure != "plain" or not rectified:
        return norm, {}, None
    parameters = dict(model.named_parameters(remove_duplicate=False))
    names, ratios = [], []
    for layer in prediction.layers:
        weight = parameters[layer.weight]
        if (
            weight.grad is not None
            and weight.grad.layout == torch.strided
            and layer.kind in ("conv", "linear", "conv_transpose")
        ):
            names.append(layer.name)
            own, moved = (statistics.spectral_norm(t.detach().flatten(1)) for t in (weight, weight.grad))
            ratios.append(moved / own.clamp(min=1e-30))
    if not ratios:
        return norm, {}, None
    growth = torch.stack(ratios).tolist()
    plateau = None
    # Above the band a net starts far above chance, and has no stay there that could be predicted.
    explodes = prediction.log10_gain is not None and prediction.log10_gain + prediction.log10_input > BUDGET_HIGH
    known = settings is not None and settings.name == "SGD" and not prediction.biased and math.isfinite(norm)
    if settings is not None and known and not explodes:
        plateau = signal.plateau_steps(
            growth,
            lr=settings.lr,
            momentum=settings.momentum or 0.0,
            weight_decay=settings.weight_decay or 0.0,
            clip=settings.clip,
            gradient_norm=norm,
            batch_size=batch_size,
            num_classes=num_classes,
        )
    return norm, dict(zip(names, growth, strict=True)), plateau


def layer_rows(
    watch: Watch,
    structure: Trace | None,
    prediction: Prediction | None,
    settings: OptimizerSettings | None,
    precision: torch.dtype,
    norm: float,
    growth: dict[str, float],
    facts: dict[str, Any],
) -> tuple[LayerStats, ...]:
    """Rows in forward order: a layer's output with its main weight, then its other weights; last those of layers that are not
    called by themselves.
    """
    predicted = {layer.name: layer for layer in prediction.layers} if prediction else {}
    following = activations_by_layer(structure, watch.model)
    at_logits = None
    if prediction and prediction.logit_rms is not None and facts.get("cross_entropy") is not None:
        at_logits = signal.logit_gradient_rms(prediction.logit_rms, facts["num_logits"], facts["batch_size"])
    rows = []
    for name in (*watch.order, *(name for name in watch.layers if name not in watch.forward)):
        layer, theory = watch.layers[name], predicted.get(name)
        fields: dict[str, Any] = {"activation": following.get(name), "relative_growth": growth.get(name)}
        if name in watch.forward:
            fields |= activation_fields(watch.forward[name].tolist(), float(watch.dead[name]), following.get(name))
        if theory is not None:
            fields |= {
                "fan_in": theory.fan_in or None,
                "fan_out": theory.fan_out or None,
                "kernel": theory.kernel,
                "padding": theory.padding,
                "num_units": theory.num_units,
                "gain": theory.gain,
                "predicted_activation_rms": theory.activation_rms,
            }
            if at_logits is not None and theory.gradient_ratio is not None:
                fields["predicted_output_gradient_rms"] = theory.gradient_ratio * at_logits
        if name in watch.backward:
            fields["output_gradient_rms"] = float(watch.backward[name])
        if name in watch.forward or name in layer.weights:
            if (weight := layer.weights.get(name)) is not None:
                fields |= _weight_fields(weight.detach(), weight.grad, settings, precision, norm)
            rows.append(LayerStats(name=shown_name(name, layer), kind=layer.kind, **fields))
        for row, weight in layer.weights.items():
            if row != name:
                measured = _weight_fields(weight.detach(), weight.grad, settings, precision, norm)
                rows.append(LayerStats(name=row, kind=layer.kind, **measured))
    return tuple(rows)


def _weight_fields(
    weight: Tensor, gradient: Tensor | None, settings: OptimizerSettings | None, precision: torch.dtype, norm: float
) -> dict[str, Any]:
    weight = statistics.local(weight)
    size = float(statistics.rms(weight))
    fields: dict[str, Any] = {
        "weight_rms": size,
        "weight_std": float(statistics.thin(weight, 1 << 18).float().std(correction=0)),
    }
    gradient = None if gradient is None else statistics.spread(gradient)
    if gradient is None:
        return fields
    values = statistics.gradient_stats(gradient.reshape(1, -1))[0].tolist()
    row = dict(zip(statistics.GRADIENT_FIELDS, values, strict=True))
    fields |= {
        "gradient_rms": row["rms"],
        "gradient_min": row["min"],
        "gradient_max": row["max"],
        "gradient_nonfinite": not (math.isfinite(row["min"]) and math.isfinite(row["max"])),
        "underflow_fraction": float(statistics.underflow_fraction(gradient, precision)),
    }
    if settings is not None and size > 0:
        step = row["rms"] * min(1.0, settings.clip / norm) if settings.clip and norm > 0 else row["rms"]
        if settings.name in _UNIT_STEPS:
            step = 1.0 if row["rms"] > 0 else 0.0
        if settings.name in ("SGD", *_UNIT_STEPS):
            fields["update_ratio"] = settings.lr * step / size
    return fields
