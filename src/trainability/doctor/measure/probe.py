"""One forward and backward pass on one batch: predicted against measured, layer by layer."""

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainability.doctor.evidence import LayerStats, OptimizerSettings, ProbeResult
from trainability.doctor.measure import statistics
from trainability.doctor.measure.hooks import Watch, activation_fields, activations_by_layer
from trainability.doctor.measure.optimizer_settings import optimizer_settings
from trainability.doctor.measure.restore import restored
from trainability.doctor.theory import signal
from trainability.doctor.theory.band import BUDGET_HIGH
from trainability.doctor.theory.propagation import Prediction, input_moments, predict
from trainability.doctor.theory.trace import Trace, trace, without_compilation

Loss = Callable[[Any, Tensor], Tensor]


def probe(
    model: nn.Module,
    loss_fn: Loss,
    images: Tensor,
    labels: Tensor,
    *,
    optimizer: torch.optim.Optimizer | OptimizerSettings | None = None,
    clip: float | None = None,
    planned_steps: int | None = None,
    precision: torch.dtype = torch.float32,
    at_start: bool = True,
    overfit_steps: int | None = None,
) -> ProbeResult:
    """Measures one training step from the inside and puts the closed form beside it.

    The model runs in train mode with dropout off, so that the same batch gives the same numbers and the predicted
    plateau is the one that was fitted. Modes, gradients, buffers and random state are put back bit for bit.

    Args:
        model: takes `images`. A compiled model is run plain.
        loss_fn: loss_fn(model(images), labels) -> one number.
        images: (batch, ...) on the model's device, exactly as the loop would feed them; 64 or more make dead units
            and the predicted plateau sharper.
        labels: what loss_fn wants; (batch,) integers for everything about classes.
        optimizer: or its settings; for update ratios and the predicted plateau.
        clip: gradient-norm threshold that the loop will use; None for none.
        planned_steps: length of the run in optimizer steps; None if unknown.
        precision: number format that gradients will be kept in, for underflow.
        at_start: whether the weights are as initialised. If not, rules compare nothing with the closed form.
        overfit_steps: Adam steps (lr 1e-3) on this one batch, on a copy; None to leave that out.

    Returns:
        The measurements; `diagnose(Evidence(probe=...))` reads them.

    Raises:
        ValueError: images or labels on another device than the model, an empty batch, a loss that is not one
            number, or a loss function that cannot take what the model returns.
    """
    with without_compilation(model) as plain, restored(plain):
        _check_batch(plain, images, labels)
        plain.train()
        _dropout_off(plain)
        structure, notes = _follow(plain, images)
        inputs = input_moments(images) if images.is_floating_point() else None
        prediction = predict(structure, signal.weight_moments(plain), inputs) if structure else None
        settings = _settings(plain, optimizer, clip, planned_steps)
        watch = Watch(plain, output=lambda z: statistics.activation_stats(z.reshape(1, -1))[0], gradient=statistics.rms)
        watch.attach()
        try:
            with torch.enable_grad():
                output = plain(images)
                loss = _scalar_loss(loss_fn, output, labels)
                loss.backward()
        finally:
            watch.detach()
        logits = _logits(output)
        facts = {
            **_input_facts(images),
            **_loss_facts(loss, logits, labels),
            **_growth_facts(plain, prediction, settings, len(images), logits.shape[1] if logits is not None else 10),
        }
        del output, loss
        layers = _layers(plain, structure, prediction, watch, settings, precision, facts)
        facts.pop("growth")
        for parameter in plain.parameters():
            parameter.grad = None  # frees what the next passes need
        result = ProbeResult(
            layers=layers,
            structure=prediction.structure if prediction else "unknown",
            log10_gain=prediction.log10_gain if prediction else None,
            biased=prediction.biased if prediction else False,
            notes=(*notes, *(prediction.notes if prediction else ())),
            predicted_logit_rms=prediction.logit_rms if prediction and logits is not None else None,
            precision=str(precision).removeprefix("torch."),
            at_start=at_start,
            optimizer=settings,
            predicted_loss=_predicted_loss(prediction, logits),
            leakage=_leakage(plain, images),
            **facts,
            **(_overfit(plain, loss_fn, images, labels, overfit_steps) if overfit_steps else {}),
        )
    return result


def _check_batch(model: nn.Module, images: Any, labels: Any) -> None:
    if not isinstance(images, Tensor):
        raise ValueError(
            f"images is a {type(images).__name__}; the probe takes one tensor: wrap a model of several inputs in one that "
            "takes them from it (Monitor takes any)"
        )
    if images.dim() == 0 or len(images) == 0:
        raise ValueError(f"images are empty: shape {tuple(images.shape)}; expected (batch, ...) with at least one example")
    parameter = next(model.parameters(), None)
    for name, value in (("images", images), ("labels", labels)):
        if parameter is not None and isinstance(value, Tensor) and value.device != parameter.device:
            raise ValueError(f"{name} are on {value.device} and the model on {parameter.device}; move one to the other")


def _dropout_off(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.training = False


def _follow(model: nn.Module, images: Tensor) -> tuple[Trace | None, tuple[str, ...]]:
    try:
        return trace(model, tuple(images.shape), images.dtype), ()
    except ValueError as error:
        return None, (str(error),)


def _settings(model: nn.Module, optimizer: Any, clip: float | None, planned_steps: int | None) -> OptimizerSettings | None:
    if optimizer is None or isinstance(optimizer, OptimizerSettings):
        return optimizer
    return optimizer_settings(optimizer, model, clip=clip, planned_steps=planned_steps)


def _scalar_loss(loss_fn: Loss, output: Any, labels: Tensor) -> Tensor:
    try:
        loss = loss_fn(output, labels)
    except Exception as error:
        kind = type(output).__name__ + (f" of {len(output)}" if isinstance(output, (tuple, list)) else "")
        if isinstance(output, Tensor):
            kind = f"tensor of shape {tuple(output.shape)}"
        raise ValueError(
            f"loss_fn(model(images), labels) failed: {_first_line(error)} (the model returned a {kind})"
        ) from error
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        shape = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(f"loss_fn returned {shape}; expected a tensor with one number (take its mean)")
    if not loss.requires_grad:
        raise ValueError("the loss does not depend on any trainable parameter; is the model frozen or under no_grad()?")
    return loss.reshape(())


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"


def _logits(output: Any) -> Tensor | None:
    if isinstance(output, Tensor) and output.dim() == 2 and output.is_floating_point() and output.shape[1] > 1:
        return output.detach().float()
    return None


def _input_facts(images: Tensor) -> dict[str, Any]:
    x = images.detach().float()
    others = [d for d in range(x.dim()) if d != 1]
    return {
        "batch_size": len(images),
        "input_shape": tuple(images.shape),
        "input_mean": float(x.mean()),
        "input_mean_square": float(statistics.rms(x)) ** 2,
        "input_channel_means": tuple(x.mean(dim=others).tolist()) if x.dim() == 4 else (),
    }


def entropy(classes: Tensor, num_classes: int) -> float:
    """Entropy in nats of a list of class indices."""
    share = torch.bincount(classes.flatten(), minlength=num_classes).double() / max(classes.numel(), 1)
    return float(-(share * share.clamp(min=1e-300).log()).sum())


def _loss_facts(loss: Tensor, logits: Tensor | None, labels: Tensor) -> dict[str, Any]:
    facts: dict[str, Any] = {"loss": float(loss.detach())}
    indices = isinstance(labels, Tensor) and labels.dim() == 1 and not labels.is_floating_point()
    if indices:
        facts |= {"label_min": int(labels.min()), "label_max": int(labels.max())}
    if logits is None:
        return facts
    classes = logits.shape[1]
    rows = logits.sum(dim=1)
    facts |= {
        "num_logits": classes,
        "logit_rms": float(statistics.rms(logits)),
        "logit_spread": float(logits.std(dim=0, correction=0).square().mean().sqrt()),
        "outputs_are_probabilities": bool(((logits >= 0) & (logits <= 1)).all() and ((rows - 1).abs() < 1e-3).all()),
    }
    if indices and len(labels) == len(logits) and facts["label_min"] >= 0 and facts["label_max"] < classes:
        facts |= {
            "cross_entropy": float(nn.functional.cross_entropy(logits, labels.long())),
            "predicted_class_entropy": entropy(logits.argmax(dim=1), classes),
            "label_entropy": entropy(labels.long(), classes),
        }
    return facts


def _growth_facts(
    model: nn.Module,
    prediction: Prediction | None,
    settings: OptimizerSettings | None,
    batch_size: int,
    num_classes: int,
) -> dict[str, Any]:
    """Gradient norm, relative growth per layer and the plateau that follows from it."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norms = torch.stack([torch.linalg.vector_norm(g.float()) for g in gradients])
    facts: dict[str, Any] = {"gradient_norm": float(torch.linalg.vector_norm(norms)), "growth": {}}
    rectified = prediction is not None and {layer.activation for layer in prediction.layers} <= {
        "relu",
        "leaky_relu",
        None,
    }
    if prediction is None or prediction.structure != "plain" or not rectified:
        return facts
    parameters = dict(model.named_parameters(remove_duplicate=False))
    names, ratios = [], []
    for layer in prediction.layers:
        weight = parameters[layer.weight]
        if weight.grad is not None and layer.kind in ("conv", "linear", "conv_transpose"):
            names.append(layer.name)
            own, moved = (statistics.spectral_norm(t.detach().flatten(1)) for t in (weight, weight.grad))
            ratios.append(moved / own.clamp(min=1e-30))
    if not ratios:
        return facts
    growth = torch.stack(ratios).tolist()
    facts["growth"] = dict(zip(names, growth, strict=True))
    # Above the band a net starts far above chance, and has no stay there that could be predicted.
    explodes = prediction.log10_gain is not None and prediction.log10_gain + prediction.log10_input > BUDGET_HIGH
    known = settings is not None and settings.name == "SGD" and not prediction.biased and math.isfinite(facts["gradient_norm"])
    if settings is not None and known and not explodes:
        facts["plateau_steps"] = signal.plateau_steps(
            growth,
            lr=settings.lr,
            momentum=settings.momentum or 0.0,
            weight_decay=settings.weight_decay or 0.0,
            clip=settings.clip,
            gradient_norm=facts["gradient_norm"],
            batch_size=batch_size,
            num_classes=num_classes,
        )
    return facts


def _layers(
    model: nn.Module,
    structure: Trace | None,
    prediction: Prediction | None,
    watch: Watch,
    settings: OptimizerSettings | None,
    precision: torch.dtype,
    facts: dict[str, Any],
) -> tuple[LayerStats, ...]:
    predicted = {layer.name: layer for layer in prediction.layers} if prediction else {}
    following = activations_by_layer(structure, model)
    at_logits = None
    if prediction and prediction.logit_rms is not None and facts.get("cross_entropy") is not None:
        at_logits = signal.logit_gradient_rms(prediction.logit_rms, facts["num_logits"], facts["batch_size"])
    rows = []
    for name in watch.order:
        module, layer = watch.layers[name], predicted.get(name)
        fields: dict[str, Any] = activation_fields(watch.forward[name].tolist(), float(watch.dead[name]), following.get(name))
        if layer is not None:
            fields |= {
                "fan_in": layer.fan_in or None,
                "fan_out": layer.fan_out or None,
                "kernel": layer.kernel,
                "padding": layer.padding,
                "num_units": layer.num_units,
                "gain": layer.gain,
                "predicted_activation_rms": layer.activation_rms,
            }
            if at_logits is not None and layer.gradient_ratio is not None:
                fields["predicted_output_gradient_rms"] = layer.gradient_ratio * at_logits
        if name in watch.backward:
            fields["output_gradient_rms"] = float(watch.backward[name])
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor):
            fields |= _weight_fields(weight.detach(), weight.grad, settings, precision, facts["gradient_norm"])
        fields["relative_growth"] = facts["growth"].get(name)
        rows.append(LayerStats(name=name, kind=str(signal.layer_kind(module)), activation=following.get(name), **fields))
    return tuple(rows)


def _weight_fields(
    weight: Tensor, gradient: Tensor | None, settings: OptimizerSettings | None, precision: torch.dtype, norm: float
) -> dict[str, Any]:
    size = float(statistics.rms(weight))
    fields: dict[str, Any] = {
        "weight_rms": size,
        "weight_std": float(statistics.thin(weight, 1 << 18).float().std(correction=0)),
    }
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
        if settings.name != "SGD":
            step = 1.0 if row["rms"] > 0 else 0.0  # Adam and its kin divide by the gradient's own size
        fields["update_ratio"] = settings.lr * step / size
    return fields


def _predicted_loss(prediction: Prediction | None, logits: Tensor | None) -> float | None:
    if prediction is None or prediction.logit_rms is None or logits is None:
        return None
    return signal.expected_cross_entropy(prediction.logit_rms, logits.shape[1])


def _leakage(model: nn.Module, images: Tensor) -> float | None:
    """Change of the first example's output with another neighbour, in eval mode, over the output's rms."""
    untracked = any(isinstance(m, nn.modules.batchnorm._BatchNorm) and not m.track_running_stats for m in model.modules())
    if len(images) < 3 or untracked:  # batch norm without running statistics mixes examples by intention
        return None
    model.eval()
    with torch.no_grad():
        # Two pairs, not one example alone: kernels may round differently for another batch size.
        one, other = (model(torch.stack([images[0], images[i]])) for i in (1, 2))
    if not isinstance(one, Tensor) or one.dim() == 0 or len(one) != 2 or not one.is_floating_point():
        return None
    difference = (one[0] - other[0]).abs().max()
    return float(difference / statistics.rms(one).clamp(min=1e-30))


def _overfit(model: nn.Module, loss_fn: Loss, images: Tensor, labels: Tensor, steps: int) -> dict[str, Any]:
    """Trains a copy on the one batch; a net that cannot memorise sixteen images will learn nothing."""
    pupil = copy.deepcopy(model)
    pupil.train()
    _dropout_off(pupil)
    optimizer = torch.optim.Adam([p for p in pupil.parameters() if p.requires_grad], lr=1e-3)
    with torch.enable_grad():
        for _ in range(steps):
            optimizer.zero_grad()
            loss_fn(pupil(images), labels).backward()
            optimizer.step()
    with torch.no_grad():
        output = pupil(images)
        logits = _logits(output)
        indices = labels.dim() == 1 and not labels.is_floating_point()
        hits = float((logits.argmax(dim=1) == labels).float().mean()) if logits is not None and indices else None
        return {"overfit_loss": float(loss_fn(output, labels)), "overfit_accuracy": hits, "overfit_steps": steps}
