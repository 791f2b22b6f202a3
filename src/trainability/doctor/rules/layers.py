"""Rules on what a sampled step, or the probe, saw inside the net."""

import math
import statistics

from trainability.doctor import reading
from trainability.doctor.evidence import Evidence
from trainability.doctor.finding import Finding, Measurement


def vanishing_gradient(evidence: Evidence) -> list[Finding]:
    """Gradients too small to move the weights: everywhere at once (ReLU), or in the first layers (tanh, sigmoid).

    Everywhere: the largest gradient-to-weight ratio of all layers is below 1e-5, so that even a step size of 1 needs
    1e5 steps. First layers: AutoTrainer's ratio below 1e-3 and norm below 1e-4; the ratio alone is blind to a ReLU net,
    in which all layers vanish together. Silent once the loss is below chance, where small gradients are success.
    Fooled by loss scaling that the doctor was not told of.
    """
    layers = [s for s in reading.latest_layers(evidence) if s.gradient_rms is not None and s.weight_rms and s.kind != "norm"]
    probe, chance = evidence.probe, reading.chance_loss(evidence)
    solved = probe is not None and chance is not None and not evidence.steps and probe.loss < 0.5 * chance
    if len(layers) < 2 or reading.has_learned(evidence) or solved or (evidence.steps and chance is None):
        return []
    ratios = [(s.gradient_rms or 0.0) / (s.weight_rms or 1.0) for s in layers]
    first, last = layers[0].gradient_rms or 0.0, layers[-1].gradient_rms or 0.0
    together = max(ratios) < 1e-5
    early = first < 1e-3 * last and first < 1e-4
    # Optimizers that divide by the gradient's own size do not mind its scale.
    adaptive = reading.is_adaptive(evidence)
    if not (together or early):
        return []
    return [
        Finding(
            rule="vanishing_gradient",
            severity="hint" if adaptive else "warning",
            seen="the gradient is tiny in every layer" if together else f"the gradient fades towards {layers[0].name}",
            measurements=(
                Measurement(name="largest gradient over weight", value=max(ratios), threshold=1e-5),
                Measurement(name="first over last layer", value=first / last if last else math.nan, threshold=1e-3),
                Measurement(name="gradient rms of the first layer", value=first, threshold=1e-4),
            ),
            cause="the signal shrinks on its way through the layers" if together else "each layer shrinks the gradient",
            remedy="initialise with std sqrt(2 / fan_in) for ReLU, sqrt(1 / fan_in) for tanh; replace sigmoid by ReLU; or "
            "add normalisation",
            source="AutoTrainer, ICSE 2021; Glorot and Bengio, AISTATS 2010; own absolute threshold",
            layers=(layers[0].name,) if early and not together else reading.names(layers),
        )
    ]


def exploding_gradient(evidence: Evidence) -> list[Finding]:
    """One step would replace the weights: update larger than the weight it changes.

    A ratio of 1 is where the linear picture that gradient descent rests on ends, whatever depth or loss. Published
    thresholds on the norm alone (70, 1000) alarm on wide healthy nets. Norm scales and biases are left out: they may
    start at zero.
    """
    layers = [s for s in reading.latest_layers(evidence) if s.kind != "norm" and s.update_ratio is not None]
    large = [s for s in layers if not (s.update_ratio or 0.0) <= 1.0]
    if not large:
        return []
    worst = max(large, key=lambda s: _finite_or_infinite(s.update_ratio))
    ratio = _finite_or_infinite(worst.update_ratio)
    divisor = f"{10 ** math.ceil(math.log10(ratio * 100)):.0e}" if math.isfinite(ratio) else "1000"
    return [
        Finding(
            rule="exploding_gradient",
            severity="error",
            seen=f"one step moves {worst.name} by {ratio:.3g} times its own size",
            measurements=(Measurement(name="update over weight", value=ratio, threshold=1.0),),
            cause="the gradient is too large for this learning rate",
            remedy=f"divide the learning rate by {divisor}, or clip the gradient norm (`--optim.clip 1`); and lower gains "
            "above 1",
            source="own; healthy updates are about 1e-3 of the weight (TheDeepChecker, TOSEM 2022)",
            layers=reading.names(large),
        )
    ]


def _finite_or_infinite(ratio: float | None) -> float:
    """A ratio with NaN read as infinity, so that it sorts as the worst."""
    return math.inf if ratio is None or math.isnan(ratio) else ratio


def dead_units(evidence: Evidence) -> list[Finding]:
    """ReLU units that no example of the batch wakes.

    Without biases the share is at most 1/2 at the start, however alike the examples are (signs are symmetric), so the
    threshold is 1/2 plus three binomial standard errors for the layer's width; published ones of 50 % alarm on small
    healthy layers. All of a layer dead is an error: nothing passes. Silent below 16 examples. A hint
    once the loss is below chance: units that answer to one class only, or are spare, sleep through a batch.
    """
    if (reading.latest_batch_size(evidence) or 0) < 16:
        return []
    dead = []
    for layer in reading.latest_layers(evidence):
        share = layer.dead_fraction
        limit = min(0.5 + 1.5 / math.sqrt(layer.num_units or 16), 0.95)
        if share is not None and share > limit:
            dead.append((share, limit, layer))
    if not dead:
        return []
    share, limit, worst = max(dead, key=lambda row: row[0])
    return [
        Finding(
            rule="dead_units",
            severity="hint" if reading.has_learned(evidence) else ("error" if share >= 1.0 else "warning"),
            seen=f"{share:.0%} of the units of {worst.name} are zero on every example",
            measurements=(Measurement(name=f"dead share of {worst.name}", value=share, threshold=limit),),
            cause="a step that was too large pushed biases far below zero, or the layer's input has died",
            remedy="lower the learning rate or clip (`--optim.clip 1`); start biases at zero",
            source="TheDeepChecker, TOSEM 2022; own threshold by width",
            layers=tuple(layer.name for _, _, layer in dead),
        )
    ]


def saturation(evidence: Evidence) -> list[Finding]:
    """More than half of a layer's tanh or sigmoid outputs beyond 85 % of the range, where the slope is gone.

    A hint once the loss is below chance: a net that has learned is sure of what it sees.
    """
    full = [s for s in reading.latest_layers(evidence) if (s.saturated_fraction or 0.0) > 0.5]
    if not full:
        return []
    worst = max(full, key=lambda s: s.saturated_fraction or 0.0)
    return [
        Finding(
            rule="saturation",
            severity="hint" if reading.has_learned(evidence) else "warning",
            seen=f"{worst.saturated_fraction:.0%} of the {worst.activation} outputs behind {worst.name} are saturated",
            measurements=(Measurement(name="saturated share", value=worst.saturated_fraction or 0.0, threshold=0.5),),
            cause="weights or inputs too large for the activation",
            remedy="initialise with std sqrt(1 / fan_in) (`torch.nn.init.xavier_normal_`) and normalise the input",
            source="Glorot and Bengio, AISTATS 2010; threshold: TheDeepChecker, TOSEM 2022",
            layers=reading.names(full),
        )
    ]


def update_ratio(evidence: Evidence) -> list[Finding]:
    """The typical update is far from 1e-3 of the weight. A hint: fine-tuning and late epochs are meant to be slow."""
    ratios = [s.update_ratio for s in reading.latest_layers(evidence) if s.update_ratio is not None and s.kind != "norm"]
    if not ratios or not all(math.isfinite(r) for r in ratios):
        return []
    middle = statistics.median(ratios)
    if 1e-5 <= middle <= 1e-1:
        return []
    return [
        Finding(
            rule="update_ratio",
            severity="hint",
            seen=f"a step changes the typical layer by {middle:.1e} of its size; about 1e-3 is usual",
            measurements=(Measurement(name="update over weight", value=middle, threshold=1e-5 if middle < 1e-5 else 1e-1),),
            cause="the learning rate is far from what the gradients ask for",
            remedy=f"multiply the learning rate by {1e-3 / middle:.0e}" if middle > 0 else "check the learning rate",
            source="TheDeepChecker, TOSEM 2022 ([1e-4, 1e-1]); lower end widened for late epochs",
        )
    ]


def untrained_parameter(evidence: Evidence) -> list[Finding]:
    """Parameters that the optimizer does not own, or that three samples leave unchanged.

    `requires_grad=False` is deliberate and only a hint.
    """
    settings = evidence.optimizer or (evidence.probe.optimizer if evidence.probe is not None else None)
    unmanaged = settings.unmanaged if settings is not None else ()
    frozen = settings.frozen if settings is not None else ()
    moved = [{s.name: s.update_ratio for s in sample.layers} for sample in evidence.samples]
    still = [
        name
        for name in (moved[-1] if len(moved) >= 3 else {})
        if all(row.get(name) == 0.0 for row in moved[-3:]) and f"{name}.weight" not in (*unmanaged, *frozen)
    ]
    found = []
    if unmanaged or still:
        concerned = (*unmanaged, *still)
        found.append(
            Finding(
                rule="untrained_parameter",
                severity="warning",
                seen=f"{', '.join(concerned[:4])}{' and more' if len(concerned) > 4 else ''} will not be trained",
                measurements=(
                    Measurement(name="parameters in no group", value=float(len(unmanaged)), threshold=0.0),
                    Measurement(name="layers unchanged over 3 samples", value=float(len(still)), threshold=0.0),
                ),
                cause="built before or after what the optimizer was given" if unmanaged else "no gradient reaches them",
                remedy="pass model.parameters() to the optimizer, after the model is complete",
                source="SageMaker Debugger; torchtest 2",
                layers=concerned,
            )
        )
    if frozen:
        found.append(
            Finding(
                rule="untrained_parameter",
                severity="hint",
                seen=f"{len(frozen)} parameters have requires_grad=False",
                measurements=(Measurement(name="frozen parameters", value=float(len(frozen)), threshold=0.0),),
                cause="frozen on purpose, or left so",
                remedy="parameter.requires_grad_(True), unless it is meant",
                source="SageMaker Debugger",
                layers=frozen,
            )
        )
    return found


def missing_zero_grad(evidence: Evidence) -> list[Finding]:
    """A gradient is already there when backward begins, at every sampled step after the first.

    The first micro-batch of a step is looked at, so accumulation is silent.
    """
    later = [s for s in evidence.samples if s.step > 1 and s.gradient_norm_before_backward is not None]
    stale = [s for s in later if (s.gradient_norm_before_backward or 0.0) > 0]
    if not stale or len(stale) < len(later):
        return []
    return [
        Finding(
            rule="missing_zero_grad",
            severity="error",
            seen="gradients of earlier steps are still there when backward begins, so they add up",
            measurements=(
                Measurement(
                    name="gradient before backward", value=stale[-1].gradient_norm_before_backward or 0.0, threshold=0.0
                ),
                Measurement(name="sampled steps with it", value=float(len(stale)), threshold=0.0),
            ),
            cause="optimizer.zero_grad() is missing, or accumulation never ends",
            remedy="call optimizer.zero_grad() once per step",
            source="own; norms then grow linearly",
        )
    ]


def wrong_mode(evidence: Evidence) -> list[Finding]:
    """Eval mode while training, or train mode while evaluating."""
    seen = [s for s in evidence.samples if s.training is not None]
    off = [s for s in seen if s.training is False]
    on = [e for e in evidence.evaluations if e.model_training]
    if not off and not on:
        return []
    training = bool(off)
    return [
        Finding(
            rule="wrong_mode",
            severity="warning",
            seen="the model is in eval mode while it is trained: dropout is off, batch norm frozen"
            if training
            else "the model is in train mode while it is evaluated: dropout drops, batch norm mixes the batch",
            measurements=(
                Measurement(name="sampled steps in eval mode", value=float(len(off)), threshold=0.0),
                Measurement(name="evaluations in train mode", value=float(len(on)), threshold=0.0),
            ),
            cause="model.eval() was not followed by model.train()" if training else "model.eval() is missing",
            remedy="model.train() at the start of every epoch" if training else "model.eval() before evaluating",
            source="own",
        )
    ]


def blind(evidence: Evidence) -> list[Finding]:
    """Hooks saw no layer at a sampled step: silence there means nothing."""
    samples = [s for s in evidence.samples if s.blind]
    if not samples:
        return []
    return [
        Finding(
            rule="blind",
            severity="error",
            seen=f"the monitor saw no layer at {len(samples)} of {len(evidence.samples)} sampled steps",
            measurements=(Measurement(name="blind samples", value=float(len(samples)), threshold=0.0),),
            cause="the loop runs another module than the one that is watched, or a compiled function of it",
            remedy="give Monitor the module that the loop calls, and call it as model(images)",
            source="own; hooks added after compilation never fire",
        )
    ]
